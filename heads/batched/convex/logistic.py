"""Logistic regression on several blocks with several penalties, as problems for Newton's method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from heads.batched.convex.kronecker import class_axes

TARGET = 1e-15  # twice the remaining decrease of a loss, in nats: probabilities are within about 1e-6


class LogisticRows(NamedTuple):
    """The training data of one block.

    Attributes:
        values: Training rows in their principal axes, shape (n, r) float64.
        targets: Zeros and ones, shape (1 or F, K, n); first dimension 1 if all problems share them.
        weights: Weight of each row in the loss, shape (1 or F, 1, n); their mean is 1.
    """

    values: Tensor
    targets: Tensor
    weights: Tensor


class LogisticPaths:
    """G blocks × F problems with K outputs each; a point is (K, r + 1) weights, biases last.

    A single output uses a sigmoid, several use a softmax. The loss is the weighted mean log loss plus l2 / 2
    times the squared norm of the weights; biases are not penalised. In every array the output dimension is
    before the row dimension, because matrix products of few outputs and many rows are several times faster
    in this layout.
    """

    rounding = 1e-15

    def __init__(self, blocks: Sequence[LogisticRows], l2: Tensor) -> None:
        """Stack the blocks; smaller ones are padded with rows of weight 0 and columns of zeros.

        Args:
            blocks: The G blocks.
            l2: Penalty of each problem, shape (F,) float64.
        """
        n, rank = (max(block.values.shape[axis] for block in blocks) for axis in (0, 1))
        self.n_outputs, self.width = blocks[0].targets.shape[1], rank + 1
        self.rows = l2.new_zeros(len(blocks), n, self.width)
        self.targets = l2.new_zeros(len(blocks), *blocks[0].targets.shape[:2], n)
        self.share = l2.new_zeros(
            len(blocks), *blocks[0].weights.shape[:2], n
        )  # weight of each row in its block's mean
        for at, (values, targets, weights) in enumerate(blocks):
            self.rows[at, : len(values), : values.shape[1]] = values
            self.rows[at, : len(values), -1] = 1.0
            self.targets[at, ..., : len(values)] = targets
            self.share[at, ..., : len(values)] = weights / len(values)
        self.penalty = torch.cat([l2[:, None].expand(-1, rank), l2.new_zeros(len(l2), 1)], 1)[:, None]  # (F, 1, r + 1)
        counts = l2.new_tensor([len(block.values) for block in blocks])
        self.spread = self.rows.square().sum(1) / counts[:, None]  # (G, r + 1)
        self.rough = self.rows.float()

    def target(self, points: Tensor) -> Tensor:
        """Return the remaining decrease that is allowed, shape (G, F)."""
        return points.new_full(points.shape[:2], TARGET)

    def scores(self, points: Tensor) -> Tensor:
        """Return the linear outputs, shape (G, F, K, n)."""
        return _times(points.unflatten(-1, (self.n_outputs, self.width)), self.rows.transpose(1, 2))

    def losses(self, points: Tensor, scores: Tensor) -> Tensor:
        """Return the penalised mean log losses, shape (G, F)."""
        weights = points.unflatten(-1, (self.n_outputs, self.width))
        sigmoid = self.n_outputs == 1
        fit = softplus(scores) - self.targets * scores if sigmoid else -scores.log_softmax(2) * self.targets
        return (fit * self.share).sum((2, 3)) + (self.penalty / 2 * weights.square()).sum((2, 3))

    def expand(self, points: Tensor, scores: Tensor) -> tuple[Tensor, LogisticModels]:
        """Return the gradients (G, F, P), and quadratic models in single precision."""
        weights = points.unflatten(-1, (self.n_outputs, self.width))
        p = scores.sigmoid() if self.n_outputs == 1 else scores.softmax(2)
        gradient = _times((p - self.targets) * self.share, self.rows) + self.penalty * weights
        return gradient.flatten(2), LogisticModels(self, p, scores)

    def keep(self, rows: Tensor, columns: Tensor) -> None:
        """Keep only some blocks and some problems."""
        self.rows, self.rough, self.spread = (x[rows] for x in (self.rows, self.rough, self.spread))
        self.targets, self.share = (_columns(x[rows], columns) for x in (self.targets, self.share))
        self.penalty = self.penalty[columns]


class LogisticModels:
    """Quadratic models of the losses.

    The Hessian is the mean over rows i of A_i ⊗ x_i x_iᵀ, with A_i = diag(p_i) - p_i p_iᵀ. Its approximate
    inverse uses the mean of A and the mean of x xᵀ separately (the factors of K-FAC, arXiv 1503.05671); in
    principal axes the latter is diagonal.
    """

    dtype = torch.float32

    def __init__(self, problems: LogisticPaths, p: Tensor, scores: Tensor) -> None:
        """Compute the curvature at probabilities `p` (G, F, K, n)."""
        self.shape = (problems.n_outputs, problems.width)
        self.rows = problems.rough
        shared = p * problems.share
        if problems.n_outputs == 1:
            variance = shared * (-scores).sigmoid()
            values, self.turn = variance.sum(-1), p.new_ones(*p.shape[:2], 1, 1).float()
            self.p, self.top, self.shared = None, None, variance.float()
        else:
            mean = torch.diag_embed(shared.sum(-1)) - shared @ p.transpose(2, 3)
            values, turn = class_axes(mean)
            self.turn = turn.float()
            self.p, self.top, self.shared = p.float(), p.argmax(2, keepdim=True), shared.float()
        hessian = values[..., None] * problems.spread[:, None, None] + problems.penalty
        self.inverse = (1 / hessian.clamp(min=1e-30)).float()  # (G, F, K, r + 1)
        self.penalty = problems.penalty.float()

    def product(self, directions: Tensor) -> Tensor:
        """Return Hessians times directions, shape (G, F, P)."""
        d = directions.unflatten(-1, self.shape)
        change = _times(d, self.rows.transpose(1, 2))
        if self.p is None or self.top is None:
            change = self.shared * change
        else:
            # Relative to the most likely class, the tiny curvature of confident rows survives single precision.
            change = change - change.gather(2, self.top)
            change = self.shared * (change - (self.p * change).sum(2, keepdim=True))
        return (_times(change, self.rows) + self.penalty * d).flatten(2)

    def precondition(self, residuals: Tensor) -> Tensor:
        """Return approximate inverse Hessians times residuals, shape (G, F, P)."""
        turned = self.turn.transpose(2, 3) @ residuals.unflatten(-1, self.shape)
        return (self.turn @ (self.inverse * turned)).flatten(2)

    def keep(self, columns: Tensor) -> None:
        """Keep only some problems."""
        self.turn, self.inverse, self.shared = (x[:, columns] for x in (self.turn, self.inverse, self.shared))
        self.p, self.top = (None if x is None else x[:, columns] for x in (self.p, self.top))
        self.penalty = self.penalty[columns]


def _times(values: Tensor, matrices: Tensor) -> Tensor:
    """Multiply (G, F, K, a) by (G, a, b)."""
    return torch.bmm(values.flatten(1, 2), matrices).unflatten(1, values.shape[1:3])


def _columns(values: Tensor, columns: Tensor) -> Tensor:
    """Select problems from (G, F, …), unless all problems share one entry."""
    return values if values.shape[1] == 1 else values[:, columns]
