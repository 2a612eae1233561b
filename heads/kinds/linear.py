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
    from heads.batched.logistic import LogisticRows

CPU_STACK_BYTES = 2**25  # stacking blocks beyond the processor's caches does not speed up training


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
    L2 penalty is invariant to rotation. The problems are convex and start at zero, so seeds have no effect.

    Args:
        places: The blocks to fit.
        load: Returns the block of a place.
        job: The penalties, and the settings shared by all fits.

    Yields:
        One candidate per block and penalty, with one fit each.
    """
    from heads.batched.blocks import BUDGET_BYTES, chunks
    from heads.batched.cores import on_cores

    block_bytes, point_bytes = _memory(job)
    on_cpu = job.device.type == "cpu"
    budget = CPU_STACK_BYTES if on_cpu else BUDGET_BYTES
    at_once = max(1, (BUDGET_BYTES - block_bytes) // point_bytes)
    # On a CPU, blocks of different folds are not stacked, so that a fold's bits depend on its own rows alone.
    groups = [list(own) for _, own in groupby(places, key=lambda place: place.fold)] if on_cpu else [places]
    stacks = [chunk for group in groups for chunk in chunks(group, block_bytes + point_bytes * len(job.grid), budget)]
    units = [partial(_fit_stack, chunk, load, job, at_once) for chunk in stacks]
    bytes_each = max(map(len, stacks)) * (block_bytes + point_bytes * min(at_once, len(job.grid)))
    yield from on_cores(units, job.cores, job.device, bytes_each)


def _fit_stack(places: Sequence[Place], load: Loader, job: Job, at_once: int) -> Iterator[BlockFit]:
    """Fit every penalty, `at_once` at a time, on some blocks that are stacked."""
    from heads.batched.closed_form import principal_axes

    blocks = [load(place) for place in places]
    turned = [principal_axes(block.train) for block in blocks]
    for first in range(0, len(job.grid), at_once):
        part = job.grid[first : first + at_once]
        solved = _solve(turned, blocks, part, job)
        for place, block, (_, axes), points, rounds in zip(places, blocks, turned, *solved, strict=True):
            for at, (point, taken) in enumerate(zip(points, rounds, strict=True)):
                yield _candidate(place, block, first + at, axes, point, taken, job.task)


def _memory(job: Job) -> tuple[int, int]:
    """Return the bytes of a block's rows, and of the points and outputs of one penalty."""
    width = min(job.n_train, job.dim) + 1
    return 8 * 4 * job.n_train * width, 8 * job.n_outputs * (8 * job.n_train + 10 * width)


def _solve(
    turned: Sequence[tuple[Tensor, Tensor]], blocks: Sequence[Block], grid: Sequence[Configuration], job: Job
) -> tuple[list[Tensor], list[Tensor]]:
    """Return each block's solutions (F, C, r + 1) in principal axes, biases last, and their iterations (F,)."""
    import torch

    from heads.batched.closed_form import ridge_path
    from heads.batched.logistic import LogisticPaths
    from heads.batched.newton import minimise

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
    """Return a block's rows for `heads.batched.logistic`; in `multi-label`, one problem per class and penalty."""
    from torch.nn.functional import one_hot

    from heads.batched.logistic import LogisticRows
    from heads.batched.losses import row_weights

    weights = row_weights(targets, job.n_outputs, job.task, class_weight)
    if job.task == "single-label":
        return LogisticRows(values, one_hot(targets, job.n_outputs).to(values).T[None], weights[None, None])
    return LogisticRows(
        values, targets.T[:, None].repeat(n_penalties, 1, 1), weights.T[:, None].repeat(n_penalties, 1, 1)
    )


def _candidate(
    place: Place, block: Block, configuration: int, axes: Tensor, point: Tensor, rounds: Tensor, task: Task
) -> BlockFit:
    """Rotate a solution (C, r + 1) back to the block's columns and compute the validation loss."""
    import torch

    from heads.batched.blocks import BlockFit
    from heads.batched.losses import row_losses

    weight, bias = axes @ point[:, : axes.shape[1]].T, point[:, -1]
    if task == "single-label":
        bias = bias - bias.mean()  # a shift of all classes does not change the softmax
    loss = row_losses(block.valid @ weight + bias, block.valid_targets, task).mean()
    layer = weight.to(torch.float32).cpu().numpy(), bias.to(torch.float32).cpu().numpy()
    return BlockFit(
        place,
        configuration,
        states=[head_state([layer], block)],
        valid_loss=np.array([loss.item()]),
        epochs=np.array([int(rounds)]),
        params_trained=weight.numel() + bias.numel(),
    )


HEAD = HeadType(LinearOptions, fit_linear, predict_layers, apart=True, graph=layers_graph)
