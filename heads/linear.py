"""Multinomial logistic regression: a whole regularisation path of every fold and layer, solved as one job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from heads.blocks import Block, Fitted, Loader, Place, chunks
from heads.job import Job
from heads.lbfgs import MEMORY, minimise
from heads.losses import row_losses
from heads.predict import head_state

TOLERANCE = 1e-14  # nats the mean log loss can still fall: probabilities within about 1e-7
MAX_ROUNDS = 3000


def fit_linear(places: Sequence[Place], load: Loader, job: Job) -> Iterator[Fitted]:
    """Fit every penalty on every block to convergence.

    The loss is the mean log loss plus l2 / 2 times the squared norm of the weights; biases are free.
    Each block is first turned to its principal axes, which changes nothing (an L2 penalty does not
    feel rotations), leaves min(n, D) columns, and makes the Hessian nearly diagonal. Penalties are
    columns of one matrix, so a round of the solver is two matrix products per block. The problem is
    convex and starts at zero: no seed enters.

    Args:
        places: The blocks to fit, stacked as far as memory allows.
        load: Gives the block of a place.
        job: The path of penalties and what all fits share.

    Yields:
        One candidate per block and penalty, with one fit each.
    """
    n_classes = job.n_outputs
    rank = min(job.n_train, job.dim) + 1
    path = len(job.grid)
    bytes_each = 8 * (2 * job.n_train * rank + 3 * job.n_train * path * n_classes)
    bytes_each += 8 * (2 * MEMORY + 10) * path * rank * n_classes
    for chunk in chunks(places, bytes_each):
        blocks = [load(place) for place in chunk]
        rotated = [_principal_axes(block.train) for block in blocks]
        l2 = torch.tensor([point["l2"] for point in job.grid], dtype=torch.float64, device=blocks[0].train.device)
        problems = _LogisticPaths([rows for rows, _ in rotated], [b.train_targets for b in blocks], l2, n_classes)
        start = l2.new_zeros(len(blocks), path, problems.rank * n_classes)
        points, rounds = minimise(problems, start, tolerance=TOLERANCE, max_rounds=MAX_ROUNDS)
        weights = points.view(len(blocks), path, problems.rank, n_classes)
        for at, (place, block, (_, axes)) in enumerate(zip(chunk, blocks, rotated, strict=True)):
            yield from _candidates(place, block, axes, weights[at], rounds[at])


def _candidates(place: Place, block: Block, axes: Tensor, weights: Tensor, rounds: Tensor) -> Iterator[Fitted]:
    """Turn one block's solutions, (F, rank, C), back to its columns and score its validation rows."""
    for configuration, (solution, taken) in enumerate(zip(weights, rounds, strict=True)):
        weight, bias = axes @ solution[: axes.shape[1]], solution[-1]
        loss = row_losses(block.valid @ weight + bias, block.valid_targets, "single-label").mean()
        layer = weight.to(torch.float32).cpu().numpy(), bias.to(torch.float32).cpu().numpy()
        yield Fitted(
            place,
            configuration,
            [head_state([layer], block)],
            np.array([loss.item()]),
            np.array([int(taken)]),
            weight.numel() + bias.numel(),
        )


def _principal_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n, D) in an orthonormal basis of their span that diagonalises their covariance, and that basis (D, r)."""
    n, dim = rows.shape
    basis = None
    if n < dim:
        basis, upper = torch.linalg.qr(rows.T)
        rows = upper.T
    turn = torch.linalg.eigh(rows.T @ rows)[1]
    return rows @ turn, turn if basis is None else basis @ turn


class _LogisticPaths:
    """G blocks × F penalties of multinomial logistic regression; a point is (rank, C) weights, biases last."""

    def __init__(self, blocks: Sequence[Tensor], targets: Sequence[Tensor], l2: Tensor, n_classes: int) -> None:
        """Stack the blocks; shorter and narrower ones are filled with rows of no weight and columns of zeros."""
        n, self.rank, self.n_classes = max(map(len, blocks)), max(rows.shape[1] for rows in blocks) + 1, n_classes
        self.l2 = l2
        self.rows = l2.new_zeros(len(blocks), n, self.rank)
        self.targets = l2.new_zeros(len(blocks), n, n_classes)
        self.share = l2.new_zeros(len(blocks), n, 1, 1)  # of each row in its block's mean
        for at, (rows, classes) in enumerate(zip(blocks, targets, strict=True)):
            self.rows[at, : len(rows), : rows.shape[1]] = rows
            self.rows[at, : len(rows), -1] = 1.0
            self.targets[at, : len(rows)] = one_hot(classes, n_classes)
            self.share[at, : len(rows)] = 1 / len(rows)
        self.spread = (self.rows.square() * self.share[..., 0]).sum(1)  # (G, rank)

    def evaluate(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, gradients, and the mean variance of a class indicator under the predictions."""
        n_blocks, path, _ = points.shape
        weights = points.view(n_blocks, path, self.rank, self.n_classes)
        columns = weights.transpose(1, 2).reshape(n_blocks, self.rank, path * self.n_classes)
        log_p = torch.bmm(self.rows, columns).view(n_blocks, -1, path, self.n_classes).log_softmax(-1)
        targets = self.targets[:, :, None]
        probabilities = log_p.exp()
        penalised = weights[:, :, :-1]
        loss = -(log_p * targets * self.share).sum((1, 3)) + self.l2 / 2 * penalised.square().sum((2, 3))
        error = ((probabilities - targets) * self.share).reshape(n_blocks, -1, path * self.n_classes)
        gradient = torch.bmm(self.rows.transpose(1, 2), error).view(n_blocks, self.rank, path, self.n_classes)
        gradient = gradient.transpose(1, 2).contiguous()
        gradient[:, :, :-1] += self.l2[:, None, None] * penalised
        variance = (self.share[..., 0] * (1 - probabilities.square().sum(-1))).sum(1) / self.n_classes
        return loss, gradient.view_as(points), variance

    def inverse_curvature(self, curvatures: Tensor) -> Tensor:
        """The inverse Hessian's diagonal if every prediction had the mean variance."""
        hessian = curvatures[..., None] * self.spread[:, None] + self.l2[:, None]
        return (1 / hessian)[..., None].expand(-1, -1, -1, self.n_classes).flatten(2)

    def keep(self, rows: Tensor, columns: Tensor) -> None:
        """Go on with some blocks and some penalties."""
        self.rows, self.targets, self.share, self.spread = (
            x[rows] for x in (self.rows, self.targets, self.share, self.spread)
        )
        self.l2 = self.l2[columns]
