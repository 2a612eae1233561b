"""Logistic regression of several blocks at several penalties, as problems for Newton's method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

FLATTEST = 1e-4  # of the curvatures over classes, relative to the sharpest


class LogisticRows(NamedTuple):
    """What one block brings.

    Attributes:
        values: Training rows in their principal axes, shape (n, r) float64.
        targets: Zeros and ones, shape (1 or F, K, n): alike for all problems, or each its own.
        weights: Of each row in the loss, shape (1 or F, 1, n); their mean is 1.
    """

    values: Tensor
    targets: Tensor
    weights: Tensor


class LogisticPaths:
    """G blocks × F problems with K outputs each; a point is (K, r + 1) weights, biases last.

    One output is a sigmoid, several are a softmax. The loss is the weighted mean log loss plus l2 / 2
    times the squared norm of the weights; biases are free. Outputs come before rows in every array:
    matrix products of few outputs with many rows are several times faster so.
    """

    def __init__(self, blocks: Sequence[LogisticRows], l2: Tensor) -> None:
        """Stack the blocks; shorter and narrower ones are filled with rows of no weight and columns of zeros.

        Args:
            blocks: Of each place.
            l2: Penalty of each problem, shape (F,) float64.
        """
        n, rank = (max(block.values.shape[axis] for block in blocks) for axis in (0, 1))
        self.n_outputs, self.width = blocks[0].targets.shape[1], rank + 1
        self.rows = l2.new_zeros(len(blocks), n, self.width)
        self.targets = l2.new_zeros(len(blocks), *blocks[0].targets.shape[:2], n)
        self.share = l2.new_zeros(len(blocks), *blocks[0].weights.shape[:2], n)  # of each row in its block's mean
        for at, (values, targets, weights) in enumerate(blocks):
            self.rows[at, : len(values), : values.shape[1]] = values
            self.rows[at, : len(values), -1] = 1.0
            self.targets[at, ..., : len(values)] = targets
            self.share[at, ..., : len(values)] = weights / len(values)
        self.penalty = torch.cat([l2[:, None].expand(-1, rank), l2.new_zeros(len(l2), 1)], 1)[:, None]  # (F, 1, r + 1)
        counts = l2.new_tensor([len(block.values) for block in blocks])
        self.spread = self.rows.square().sum(1) / counts[:, None]  # (G, r + 1)
        self.rough = self.rows.float()

    def scores(self, points: Tensor) -> Tensor:
        """Linear outputs, shape (G, F, K, n)."""
        return _times(points.unflatten(-1, (self.n_outputs, self.width)), self.rows.transpose(1, 2))

    def losses(self, points: Tensor, scores: Tensor) -> Tensor:
        """Penalised mean log losses, shape (G, F)."""
        weights = points.unflatten(-1, (self.n_outputs, self.width))
        sigmoid = self.n_outputs == 1
        fit = softplus(scores) - self.targets * scores if sigmoid else -scores.log_softmax(2) * self.targets
        return (fit * self.share).sum((2, 3)) + (self.penalty / 2 * weights.square()).sum((2, 3))

    def expand(self, points: Tensor, scores: Tensor) -> tuple[Tensor, LogisticModels]:
        """Gradients (G, F, P) and quadratic models, in single precision."""
        weights = points.unflatten(-1, (self.n_outputs, self.width))
        p = scores.sigmoid() if self.n_outputs == 1 else scores.softmax(2)
        gradient = _times((p - self.targets) * self.share, self.rows) + self.penalty * weights
        return gradient.flatten(2), LogisticModels(self, p, scores)

    def keep(self, rows: Tensor, columns: Tensor) -> None:
        """Go on with some blocks and some problems."""
        self.rows, self.rough, self.spread = (x[rows] for x in (self.rows, self.rough, self.spread))
        self.targets, self.share = (_columns(x[rows], columns) for x in (self.targets, self.share))
        self.penalty = self.penalty[columns]


class LogisticModels:
    """Quadratic models of the losses.

    The Hessian is the mean over rows i of A_i ⊗ x_i x_iᵀ, with A_i = diag(p_i) - p_i p_iᵀ. Its approximate
    inverse takes the mean of A apart from that of x xᵀ, which principal axes make diagonal (the
    factors of K-FAC, arXiv 1503.05671).
    """

    dtype = torch.float32

    def __init__(self, problems: LogisticPaths, p: Tensor, scores: Tensor) -> None:
        """Take the curvature at probabilities `p` (G, F, K, n)."""
        self.shape = (problems.n_outputs, problems.width)
        self.rows = problems.rough
        shared = p * problems.share
        if problems.n_outputs == 1:
            variance = shared * (-scores).sigmoid()
            values, self.turn = variance.sum(-1), p.new_ones(*p.shape[:2], 1, 1).float()
            self.p, self.top, self.shared = None, None, variance.float()
        else:
            mean = torch.diag_embed(shared.sum(-1)) - shared @ p.transpose(2, 3)
            values, turn = torch.linalg.eigh(mean)
            self.turn = turn.float()
            self.p, self.top, self.shared = p.float(), p.argmax(2, keepdim=True), shared.float()
            values[..., 0] = values.mean(-1)  # a shift of all classes has none, and no gradient
        values = values.clamp(min=FLATTEST * values.amax(-1, keepdim=True))
        hessian = values[..., None] * problems.spread[:, None, None] + problems.penalty
        self.inverse = (1 / hessian.clamp(min=1e-30)).float()  # (G, F, K, r + 1)
        self.penalty = problems.penalty.float()

    def product(self, directions: Tensor) -> Tensor:
        """Hessians times directions, shape (G, F, P)."""
        d = directions.unflatten(-1, self.shape)
        change = _times(d, self.rows.transpose(1, 2))
        if self.p is None or self.top is None:
            change = self.shared * change
        else:
            # Seen from the likeliest class, sure rows keep their tiny curvature in single precision.
            change = change - change.gather(2, self.top)
            change = self.shared * (change - (self.p * change).sum(2, keepdim=True))
        return (_times(change, self.rows) + self.penalty * d).flatten(2)

    def precondition(self, residuals: Tensor) -> Tensor:
        """Approximate inverse Hessians times residuals, shape (G, F, P)."""
        turned = self.turn.transpose(2, 3) @ residuals.unflatten(-1, self.shape)
        return (self.turn @ (self.inverse * turned)).flatten(2)

    def keep(self, columns: Tensor) -> None:
        """Go on with some problems."""
        self.turn, self.inverse, self.shared = (x[:, columns] for x in (self.turn, self.inverse, self.shared))
        self.p, self.top = (None if x is None else x[:, columns] for x in (self.p, self.top))
        self.penalty = self.penalty[columns]


def _times(values: Tensor, matrices: Tensor) -> Tensor:
    """(G, F, K, a) times (G, a, b)."""
    return torch.bmm(values.flatten(1, 2), matrices).unflatten(1, values.shape[1:3])


def _columns(values: Tensor, columns: Tensor) -> Tensor:
    """Some problems of (G, F, …), or all where they share one."""
    return values if values.shape[1] == 1 else values[:, columns]
