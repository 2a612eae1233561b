"""Truncated Newton's method with conjugate gradients for many smooth convex problems in parallel."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

LAST = (
    1 / 11_000
)  # a step squares the remaining decrease, times 4 rows: here one step of 2,800 rows ends near the target
ROUGH = 0.3  # relative error of a step far from the minimum
MAX_STEPS = 200
MAX_ROUNDS = 1000  # iterations of conjugate gradients in one step
SUFFICIENT = 1e-4  # Armijo's fraction of the decrease predicted by the slope
SHRINK = 0.4  # factor after a rejected step
SHORTEST = 1e-10  # below this step length only rounding is left, and a problem is finished
CROWDED = 0.8  # if at most this fraction of the columns is active, the others are removed


class Quadratics(Protocol):
    """Quadratic models of the problems around one point each, in the precision used to compute steps."""

    dtype: torch.dtype

    def product(self, directions: Tensor) -> Tensor:
        """Return Hessians times directions, shape (G, F, P)."""

    def precondition(self, residuals: Tensor) -> Tensor:
        """Return approximate inverse Hessians (symmetric, positive definite) times residuals, shape (G, F, P)."""

    def keep(self, columns: Tensor) -> None:
        """Keep only some columns (indices) of the grid of problems."""


class Problems(Protocol):
    """A grid of G × F independent convex problems in P variables; the losses depend on linear scores of them."""

    rounding: float
    """Relative increases of a loss below this are rounding errors."""

    def target(self, points: Tensor) -> Tensor:
        """Return twice the decrease of each loss, in nats, that may remain near some points (G, F, P); shape (G, F)."""

    def scores(self, points: Tensor) -> Tensor:
        """Return the scores at points (G, F, P), shape (G, F, …); linear in the points.

        Problems with many rows return an empty array (G, F, 0) and compute their scores from the points each time.
        """

    def losses(self, points: Tensor, scores: Tensor) -> Tensor:
        """Return the losses, shape (G, F)."""

    def expand(self, points: Tensor, scores: Tensor) -> tuple[Tensor, Quadratics]:
        """Return the gradients (G, F, P) and the quadratic models at some points."""

    def keep(self, rows: Tensor, columns: Tensor) -> None:
        """Keep only some rows and columns (indices) of the grid of problems."""


def minimise(problems: Problems, start: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise every problem until the remaining decrease of its loss is about `problems.target`.

    Losses, gradients and points have the precision of `start`. Only the linear systems of Newton's steps are
    solved in the models' precision, with a tolerance that depends on the distance to the minimum. Finished
    rows and columns of the grid are removed.

    Method: truncated Newton with backtracking (Nocedal and Wright, Numerical Optimization, 7.1).

    Args:
        problems: The problems. Modified: finished problems are removed.
        start: Initial points, shape (G, F, P) float64; not modified.

    Returns:
        The points (G, F, P), and the number of passes over the rows of each problem (gradients and Hessian
        products), (G, F) int64.
    """
    result, rounds = start.clone(), torch.zeros(start.shape[:2], dtype=torch.int64, device=start.device)
    rows, columns = (torch.arange(size, device=start.device) for size in start.shape[:2])
    point = start.clone()
    scores = problems.scores(point)
    loss = problems.losses(point, scores)
    running = torch.isfinite(loss)
    for _ in range(MAX_STEPS):
        if not running.any():
            break
        live = running.any(1).nonzero()[:, 0], running.any(0).nonzero()[:, 0]
        if len(live[0]) < len(rows) or len(live[1]) < len(columns):
            result[rows[:, None], columns] = point
            rows, columns = rows[live[0]], columns[live[1]]
            problems.keep(*live)
            point, scores, loss, running = (x[live[0]][:, live[1]] for x in (point, scores, loss, running))
        gradient, models = problems.expand(point, scores)
        target = problems.target(point)
        direction, spent, solved = _steps(models, gradient, running, target)
        rounds[rows[:, None], columns] += spent + running
        slope = _dot(gradient, direction)
        along = problems.scores(direction)
        step = running.to(loss)
        while True:
            trial = problems.losses(point + _like(step, point) * direction, scores + _like(step, scores) * along)
            refused = ~(trial <= loss + SUFFICIENT * step * slope + problems.rounding * loss.abs()) & (step > 0)
            if not refused.any():
                break
            step = torch.where(refused, step * SHRINK, step)
            step = torch.where(step < SHORTEST, 0.0, step)
        point = point + _like(step, point) * direction
        scores = scores + _like(step, scores) * along
        loss = trial
        # One more step would gain less than the target, or than the losses can show.
        last = torch.maximum((LAST * target).sqrt(), problems.rounding * loss.abs())
        running = running & (step > 0) & ~(solved & (step == 1) & (-slope <= last))
    result[rows[:, None], columns] = point
    return result, rounds


def _steps(models: Quadratics, gradient: Tensor, running: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return Newton's steps (G, F, P), their number of iterations, and whether they reached the tolerance (G, F)."""
    scale = gradient.abs().amax(-1).clamp(min=torch.finfo(gradient.dtype).tiny)
    residual = (-gradient / scale[..., None]).to(models.dtype)
    search = models.precondition(residual)
    size = _dot(residual, search)
    decrement = size.sqrt() * scale  # its square is about twice the remaining decrease of the loss
    precision = torch.maximum(10 * decrement, target.sqrt() / decrement).clamp(max=ROUGH)
    enough = size * precision.square().to(size)
    active = running & (size > 0)
    taken, rounds = torch.zeros_like(residual), torch.zeros_like(running, dtype=torch.int64)
    solved = ~active
    columns = torch.arange(running.shape[1], device=running.device)
    step = torch.zeros_like(residual)
    for _ in range(MAX_ROUNDS):
        live = active.any(0).nonzero()[:, 0]
        if not len(live):
            break
        if len(live) <= CROWDED * len(columns):
            taken[:, columns] = step
            columns = columns[live]
            models.keep(live)
            state = (step, residual, search, size, enough, active)
            step, residual, search, size, enough, active = (x[:, live] for x in state)
        rounds[:, columns] += active
        product = models.product(search)
        curvature = _dot(search, product)
        # Without curvature only rounding is left of the gradient, such as a shift of all classes: no step can help.
        flat = active & ~(curvature > 0)
        active = active & ~flat
        solved[:, columns] |= flat
        length = torch.where(active, size / curvature, 0.0)[..., None]
        step = step + length * search
        residual = residual - length * product
        closer = models.precondition(residual)
        new = _dot(residual, closer)
        solved[:, columns] |= new <= enough
        active = active & (new > enough)
        search = closer + torch.where(active, new / size, 0.0)[..., None] * search
        size = new
    taken[:, columns] = step
    return taken.to(gradient) * scale[..., None], rounds, solved


def _like(values: Tensor, other: Tensor) -> Tensor:
    """Reshape (G, F) values to the number of axes of `other`."""
    return values.view(*values.shape, *[1] * (other.ndim - 2))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a, b)
