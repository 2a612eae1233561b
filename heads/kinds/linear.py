"""Linear models. The regularisation paths of all folds and layers are solved to convergence as one job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
from pydantic import Field

from features.labels import Task
from heads.batched.inference import head_state, layers_graph, predict_layers
from heads.batched.job import HeadType, Job
from heads.options import ClassWeight, Configuration, Grid, HeadOptions, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import Block, BlockFit, Loader, Place
    from heads.batched.convex.logistic import LogisticRows

CPU_STACK_BYTES = 2**25  # stacking blocks beyond the processor's caches does not speed up training
BUDGET_BYTES = 2**30  # memory of one stack of fits with its rows
STREAMED_BYTES = 2**28  # memory of one fit beyond which the rows are read in chunks on a CPU


class LinearOptions(HeadOptions):
    """Logistic regression trained to convergence: multinomial, or one per class in `multi-label`.

    In regression, ridge regression of standardised values.

    Attributes:
        l2: Penalty: l2 / 2 times the squared norm of the weights is added to the mean log loss, or to half the
            mean squared error. Scikit-learn's C is 1 / (l2 · n_train); alpha of its Ridge is l2 · n_train.
        class_weight: `balanced`: every class has the same weight in the training loss.
    """

    grid: ClassVar[tuple[str, ...]] = ("l2",)

    name: Literal["linear"] = "linear"
    l2: Grid[Positive] = Field([1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4])
    class_weight: ClassWeight = None


def fit_linear(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Fit every penalty on every block to convergence.

    The loss is the mean log loss (weighted by class if `class_weight` is set) plus l2 / 2 times the squared
    norm of the weights; biases are not penalised. In `multi-label`, each class is a separate problem. In
    regression, the loss is half the mean squared error of the standardised values. Each block is first
    rotated to its principal axes, which leaves min(n, D) columns and does not change the solution, because an
    L2 penalty is invariant to rotation. The problems are convex, so seeds have no effect.

    A block that would take much memory is not rotated and not stacked: its rows are read in chunks, its penalties are
    solved one after another, and all cores work on the chunks, see `heads.batched.convex.streamed_path`. The weights
    are within 1e-4 of the optimum, relative to their norm.

    Args:
        places: The blocks to fit.
        load: Returns the block of a place.
        job: The penalties, and the settings shared by all fits.

    Yields:
        One candidate per block and penalty, with one fit each.
    """
    from heads.batched.blocks import chunks
    from heads.batched.cores import on_cores

    block_bytes, point_bytes = _memory(job)
    on_cpu = job.device.type == "cpu"
    if block_bytes + point_bytes > (STREAMED_BYTES if on_cpu else BUDGET_BYTES) and job.n_train >= job.dim:
        for place in places:
            yield from _fit_streamed(place, load, job)
        return
    budget = CPU_STACK_BYTES if on_cpu else BUDGET_BYTES
    at_once = max(1, (BUDGET_BYTES - block_bytes) // point_bytes)
    # On a CPU, blocks of different folds are not stacked, so that a fold's bits depend on its own rows alone.
    groups = [list(own) for _, own in groupby(places, key=lambda place: place.fold)] if on_cpu else [places]
    stacks = [chunk for group in groups for chunk in chunks(group, block_bytes + point_bytes * len(job.grid), budget)]
    units = [partial(_fit_stack, chunk, load, job, at_once) for chunk in stacks]
    bytes_each = max(map(len, stacks)) * (block_bytes + point_bytes * min(at_once, len(job.grid)))
    yield from on_cores(units, job.cores, job.device, bytes_each)


def _fit_streamed(place: Place, load: Loader, job: Job) -> Iterator[BlockFit]:
    """Fit every penalty on one block whose rows are read in chunks, by all cores."""
    from heads.batched.convex.streamed_path import streamed_path

    block = load(place)
    options = cast(LinearOptions, job.options)
    penalties = [point["l2"] for point in job.grid]
    for found in streamed_path(block, penalties, job.task, job.n_outputs, options.class_weight, job.cores):
        for configuration, l2 in enumerate(penalties):
            if l2 == found.l2:
                yield _candidate(place, block, configuration, found.weight, found.bias, found.rounds, job.task)


def _fit_stack(places: Sequence[Place], load: Loader, job: Job, at_once: int) -> Iterator[BlockFit]:
    """Fit every penalty, `at_once` at a time, on some blocks that are stacked."""
    from heads.batched.convex.closed_form import principal_axes

    blocks = [load(place) for place in places]
    turned = [principal_axes(block.train.double()) for block in blocks]
    for first in range(0, len(job.grid), at_once):
        part = job.grid[first : first + at_once]
        solved = _solve(turned, blocks, part, job)
        for place, block, (_, axes), points, rounds in zip(places, blocks, turned, *solved, strict=True):
            for at, (point, taken) in enumerate(zip(points, rounds, strict=True)):
                weight = axes @ point[:, : axes.shape[1]].T
                yield _candidate(place, block, first + at, weight, point[:, -1], int(taken), job.task)


def _memory(job: Job) -> tuple[int, int]:
    """Return the bytes of a block's rows, and of the points and outputs of one penalty."""
    width = min(job.n_train, job.dim) + 1
    return 8 * 4 * job.n_train * width, 8 * job.n_outputs * (8 * job.n_train + 10 * width)


def _solve(
    turned: Sequence[tuple[Tensor, Tensor]], blocks: Sequence[Block], grid: Sequence[Configuration], job: Job
) -> tuple[list[Tensor], list[Tensor]]:
    """Return each block's solutions (F, C, r + 1) in principal axes, biases last, and their iterations (F,)."""
    import torch

    from heads.batched.convex.closed_form import ridge_path
    from heads.batched.convex.logistic import LogisticPaths
    from heads.batched.convex.newton import minimise

    l2 = turned[0][0].new_tensor([point["l2"] for point in grid])
    if job.task == "regression":
        points = [ridge_path(rows, block.train_targets, l2) for (rows, _), block in zip(turned, blocks, strict=True)]
        return points, [torch.ones(len(l2), dtype=torch.int64) for _ in blocks]
    class_weight = cast(LinearOptions, job.options).class_weight
    rows = [
        _rows(values, block.train_targets, len(l2), job, class_weight)
        for (values, _), block in zip(turned, blocks, strict=True)
    ]
    if job.task == "multi-label":
        l2 = l2.repeat_interleave(job.n_outputs)
    problems = LogisticPaths(rows, l2)
    found, rounds = minimise(problems, l2.new_zeros(len(rows), len(l2), problems.n_outputs * problems.width))
    return (
        list(found.view(len(rows), len(grid), job.n_outputs, problems.width)),
        list(rounds.view(len(rows), len(grid), -1).amax(2).cpu()),
    )


def _rows(values: Tensor, targets: Tensor, n_penalties: int, job: Job, class_weight: ClassWeight) -> LogisticRows:
    """Return a block's rows for `LogisticPaths`; in `multi-label`, one problem per class and penalty."""
    from torch.nn.functional import one_hot

    from heads.batched.convex.logistic import LogisticRows
    from heads.batched.losses import row_weights

    weights = row_weights(targets, job.n_outputs, job.task, class_weight)
    if job.task == "single-label":
        return LogisticRows(values, one_hot(targets, job.n_outputs).to(values).T[None], weights[None, None])
    return LogisticRows(
        values, targets.T[:, None].repeat(n_penalties, 1, 1), weights.T[:, None].repeat(n_penalties, 1, 1)
    )


def _candidate(
    place: Place, block: Block, configuration: int, weight: Tensor, bias: Tensor, rounds: int, task: Task
) -> BlockFit:
    """Return a solution, weights (D, C) and biases (C,), with its validation loss."""
    import torch

    from heads.batched.blocks import BlockFit

    if task == "single-label":
        bias = bias - bias.mean()  # a shift of all classes does not change the softmax
    layer = weight.to(torch.float32).cpu().numpy(), bias.to(torch.float32).cpu().numpy()
    return BlockFit(
        place,
        configuration,
        states=[head_state([layer], block)],
        valid_loss=np.array([_valid_loss(block, weight, bias, task)]),
        epochs=np.array([rounds]),
        params_trained=weight.numel() + bias.numel(),
    )


def _valid_loss(block: Block, weight: Tensor, bias: Tensor, task: Task) -> float:
    """Return the mean loss of the validation rows in float64; nan without rows."""
    from heads.batched.cores import chunk_rows
    from heads.batched.losses import row_losses

    total, size = 0.0, chunk_rows(len(bias))
    for rows, targets in zip(block.valid.split(size), block.valid_targets.split(size), strict=True):
        total += row_losses(rows.double() @ weight + bias, targets, task).sum().item()
    return total / len(block.valid) if len(block.valid) else float("nan")


HEAD = HeadType(LinearOptions, fit_linear, predict_layers, apart=True, graph=layers_graph)
