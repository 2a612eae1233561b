"""Regularisation paths of a linear model on many rows: from the strongest penalty to the weakest, one after another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from features.labels import Task
from features.numerics import full_float32
from heads.batched.blocks import Block
from heads.batched.convex.closed_form import ridge_weights
from heads.batched.convex.links import Link, Sigmoids, Softmax
from heads.batched.convex.newton import minimise
from heads.batched.convex.streamed import PrincipalRows, StreamedLogistic
from heads.batched.cores import RowChunks, chunk_rows
from heads.batched.losses import weights_by_class

REMEMBERED = 3  # solutions from which the next one is extrapolated


class Solution(NamedTuple):
    """A linear model of standardised rows.

    Attributes:
        l2: Its penalty.
        weight: Shape (D, C) float64.
        bias: Shape (C,) float64.
        rounds: Passes over the rows.
    """

    l2: float
    weight: Tensor
    bias: Tensor
    rounds: int


def streamed_path(
    block: Block, penalties: Sequence[float], task: Task, n_outputs: int, class_weight: str | None, cores: int
) -> Iterator[Solution]:
    """Solve one problem per distinct penalty on the block's training rows, which are read in chunks.

    Args:
        block: The rows.
        penalties: Values of l2, in any order.
        task: The task.
        n_outputs: C.
        class_weight: See `heads.batched.losses.row_weights`.
        cores: Number of threads that compute chunks. It does not change the results.

    Yields:
        The solutions from the strongest penalty to the weakest.
    """
    ordered = sorted(set(penalties), reverse=True)
    with full_float32(), RowChunks(len(block.train), chunk_rows(n_outputs), cores) as chunks:
        rows = PrincipalRows(block.train, chunks)
        if task == "regression":
            yield from _ridge(rows, block.train_targets, ordered)
            return
        weights = weights_by_class(block.train_targets, n_outputs, task, class_weight).float() / len(block.train)
        link: Link
        if task == "multi-label":
            labels = torch.arange(n_outputs, device=block.train.device)
            link = Sigmoids(block.train_targets, weights, labels)
        else:
            link = Softmax(block.train_targets, weights)
        yield from _logistic(rows, link, n_outputs, ordered)


def _ridge(rows: PrincipalRows, targets: Tensor, ordered: Sequence[float]) -> Iterator[Solution]:
    """Solve ridge regressions from the moments of rows and targets (n, 1)."""
    bias = targets.mean()

    def work(_: int, part: slice) -> tuple[Tensor, ...]:
        return (rows.values[part].double().T @ (targets[part, 0] - bias),)

    (total,) = rows.chunks.sum(work)
    products = rows.axes.T @ total / len(rows.values)
    for l2, point in zip(ordered, ridge_weights(products, rows.spread, bias, bias.new_tensor(ordered)), strict=True):
        yield Solution(l2, rows.axes @ point[:, :-1].T, point[:, -1], 1)


def _logistic(rows: PrincipalRows, link: Link, n_outputs: int, ordered: Sequence[float]) -> Iterator[Solution]:
    """Solve logistic regressions, each from a start that the stronger penalties suggest."""
    width = rows.values.shape[1] + 1
    solved: list[tuple[float, Tensor]] = []
    for l2 in ordered:
        problems = StreamedLogistic(rows, link, l2)
        if solved:
            start = _start(problems, solved, l2)
        else:
            start = rows.axes.new_zeros(1, link.n_problems, n_outputs * width // link.n_problems)
        found, rounds = minimise(problems, start)
        solved = [*solved, (l2, found)][-REMEMBERED:]
        outputs = found.view(n_outputs, width)
        yield Solution(l2, outputs[:, :-1].T, outputs[:, -1], int(rounds.max()))


def _start(problems: StreamedLogistic, solved: Sequence[tuple[float, Tensor]], l2: float) -> Tensor:
    """Return the last solution, or the polynomial in log l2 through the last solutions where its loss is lower."""
    last = solved[-1][1]
    at = [math.log(own) for own, _ in solved]
    extrapolated = torch.zeros_like(last)
    for i, (_, point) in enumerate(solved):
        factors = [(math.log(l2) - at[j]) / (at[i] - at[j]) for j in range(len(at)) if j != i]
        extrapolated += math.prod(factors) * point
    scores = problems.scores(last)
    lower = problems.losses(extrapolated, scores) < problems.losses(last, scores)
    return torch.where(lower[..., None], extrapolated, last)
