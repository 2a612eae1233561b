"""Logistic regression on the rows of one block in chunks: memory for the outputs of a few chunks, not of all rows."""

from __future__ import annotations

import torch
from torch import Tensor

from heads.batched.convex.kronecker import KroneckerInverse
from heads.batched.convex.links import Curvature, Link
from heads.batched.cores import RowChunks

RELATIVE_ERROR = 3e-5  # of a solution's weights, in their norm
SMALLEST_TARGET = 1e-14  # gradients from float32 scores of ten thousand rows or more are not more precise
SCORE_ERROR = 3e-6  # relative error of a row's loss whose score is float32; the errors of rows are independent
KEPT = 1 / 8  # curvatures of the rows' losses are kept up to this fraction of the rows' memory, else computed again


class PrincipalRows:
    """Rows with the principal axes of their second moments.

    Attributes:
        chunks: The chunks in which rows are read.
        values: Standardised rows, shape (n, D) float32.
        axes: Principal axes, shape (D, D) float64.
        spread: Mean square of the rows along each axis, shape (D,) float64.
    """

    def __init__(self, values: Tensor, chunks: RowChunks) -> None:
        """Compute the axes from the second moments, which are added in float64."""
        self.values, self.chunks = values, chunks

        def moments(_: int, part: slice) -> tuple[Tensor, ...]:
            x = values[part].double()
            return (x.T @ x,)

        (total,) = chunks.sum(moments)
        spread, self.axes = torch.linalg.eigh(total / len(values))
        self.spread = spread.clamp(min=0)


class StreamedLogistic:
    """The `heads.batched.convex.newton.Problems` of one block with one penalty: one softmax, or one sigmoid per label.

    The loss is the weighted mean log loss plus l2 / 2 times the squared norm of the weights; biases are not penalised.
    A point contains D + 1 weights per output, biases last. Scores are computed in float32, chunk by chunk, whenever
    they are needed. Losses and gradients are added in float64.
    """

    def __init__(self, rows: PrincipalRows, link: Link, l2: float) -> None:
        """Define the problems."""
        self.rows, self.link, self.l2 = rows, link, l2
        self.rounding = SCORE_ERROR / len(rows.values) ** 0.5
        self.axes = rows.axes.float()

    def scores(self, points: Tensor) -> Tensor:
        """Return no scores: they are computed again from the points."""
        return points.new_empty(*points.shape[:2], 0)

    def target(self, points: Tensor) -> Tensor:
        """Return twice the remaining decrease at which the weights are within `RELATIVE_ERROR`, shape (1, F).

        Twice the decrease is at least l2 times the squared distance to the optimum, because of strong convexity.
        """
        return (self.l2 * RELATIVE_ERROR**2 * self._squares(points)).clamp(min=SMALLEST_TARGET)

    def losses(self, points: Tensor, scores: Tensor) -> Tensor:
        """Return the penalised mean log losses, shape (1, F)."""
        outputs = self._outputs(points).float()

        def work(_: int, part: slice) -> tuple[Tensor, ...]:
            return (self.link.losses(affine(outputs, self.rows.values[part]), part),)

        (fit,) = self.rows.chunks.sum(work)
        return fit + self.l2 / 2 * self._squares(points)

    def expand(self, points: Tensor, scores: Tensor) -> tuple[Tensor, StreamedModels]:
        """Return the gradients (1, F, P), and quadratic models in single precision."""
        outputs = self._outputs(points)
        single, link, values = outputs.float(), self.link, self.rows.values
        curvatures: list[Curvature | None] = [None] * len(self.rows.chunks.slices)
        kept = len(single) <= KEPT * values.shape[1]

        def work(number: int, part: slice) -> tuple[Tensor, ...]:
            residuals, curvature = link.expand(affine(single, values[part]), part)
            if kept:
                curvatures[number] = curvature
            return transposed_affine(residuals, values[part]), curvature.mean()

        gradient, mean = self.rows.chunks.sum(work)
        gradient[:, :-1] += self.l2 * outputs[:, :-1]
        inverse = KroneckerInverse(mean, self.axes, self.rows.spread, self.l2)
        return gradient.view_as(points), StreamedModels(self, single, curvatures, inverse)

    def keep(self, rows: Tensor, columns: Tensor) -> None:
        """Keep only some labels; a softmax is one problem."""
        self.link = self.link.select(columns)

    def _outputs(self, points: Tensor) -> Tensor:
        """Return the weights and biases of each output, shape (K, D + 1)."""
        return points.view(-1, self.rows.values.shape[1] + 1)

    def _squares(self, points: Tensor) -> Tensor:
        """Return the squared norm of the weights without the biases, shape (1, F)."""
        return points.unflatten(-1, (-1, self.rows.values.shape[1] + 1))[..., :-1].square().sum((2, 3))


class StreamedModels:
    """Quadratic models of the losses around one point, see `heads.batched.convex.newton.Quadratics`."""

    dtype = torch.float32

    def __init__(
        self,
        problems: StreamedLogistic,
        outputs: Tensor,
        curvatures: list[Curvature | None],
        inverse: KroneckerInverse,
    ) -> None:
        """Set the point (K, D + 1), the curvatures of all chunks, if they are kept, and the approximate inverse."""
        self.rows, self.link, self.l2 = problems.rows, problems.link, problems.l2
        self.outputs, self.curvatures, self.inverse = outputs, curvatures, inverse

    def product(self, directions: Tensor) -> Tensor:
        """Return Hessians times directions, shape (1, F, P)."""
        d = directions.view(self.outputs.shape)

        def work(number: int, part: slice) -> tuple[Tensor, ...]:
            x, curvature = self.rows.values[part], self.curvatures[number]
            if curvature is None:
                curvature = self.link.expand(affine(self.outputs, x), part)[1]
            return (transposed_affine(curvature.times(affine(d, x)), x),)

        (found,) = self.rows.chunks.sum(work)
        found[:, :-1] += self.l2 * d[:, :-1]
        return found.to(self.dtype).view_as(directions)

    def precondition(self, residuals: Tensor) -> Tensor:
        """Return approximate inverse Hessians times residuals, shape (1, F, P)."""
        return self.inverse.times(residuals.view(self.outputs.shape)).view_as(residuals)

    def keep(self, columns: Tensor) -> None:
        """Keep only some labels; a softmax is one problem."""
        if self.link.n_problems == 1:
            return
        self.link, self.outputs = self.link.select(columns), self.outputs[columns]
        self.inverse.keep(columns)
        for curvature in self.curvatures:
            if curvature is not None:
                curvature.keep(columns)


def affine(outputs: Tensor, rows: Tensor) -> Tensor:
    """Return the scores (K, c) of weights and biases (K, D + 1) for rows (c, D)."""
    return torch.addmm(outputs[:, -1:], outputs[:, :-1], rows.T)


def transposed_affine(scores: Tensor, rows: Tensor) -> Tensor:
    """Return the product of `affine`'s transpose with (K, c): derivatives of weights and biases, (K, D + 1)."""
    return torch.cat([scores @ rows, scores.sum(1, keepdim=True)], 1)
