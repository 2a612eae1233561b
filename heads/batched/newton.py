"""Many smooth convex problems minimised side by side by Newton's method, its steps found by conjugate gradients."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

TARGET = 1e-15  # twice what a loss can still fall, in nats: probabilities within about 1e-6
LAST = 3e-10  # a step squares what a loss can fall, times 4 rows: from here it ends near TARGET
ROUGH = 0.3  # relative error of a step far from the minimum
MAX_STEPS = 200
MAX_ROUNDS = 1000  # of conjugate gradients in one step
SUFFICIENT = 1e-4  # Armijo's share of the decrease that the slope promises
SHRINK = 0.4  # of a refused step
SHORTEST = 1e-10  # step, below which only rounding is left and a problem is done
ROUNDING = 1e-15  # relative error of a loss, below which a rise is not a rise
CROWDED = 0.8  # share of the columns still at work, below which the others leave


class Quadratics(Protocol):
    """Quadratic models of the problems around one point each, in the precision that steps are sought in."""

    dtype: torch.dtype

    def product(self, directions: Tensor) -> Tensor:
        """Hessians times directions, shape (G, F, P)."""

    def precondition(self, residuals: Tensor) -> Tensor:
        """Approximate inverse Hessians, symmetric and positive, times residuals, shape (G, F, P)."""

    def keep(self, columns: Tensor) -> None:
        """Go on with some columns (indices) of the rectangle only."""


class Problems(Protocol):
    """A rectangle of G × F independent convex problems in P variables, whose losses see linear scores of them."""

    def scores(self, points: Tensor) -> Tensor:
        """What the losses see of points (G, F, P), linear in them; shape (G, F, …)."""

    def losses(self, points: Tensor, scores: Tensor) -> Tensor:
        """Losses, shape (G, F)."""

    def expand(self, points: Tensor, scores: Tensor) -> tuple[Tensor, Quadratics]:
        """Gradients (G, F, P) and quadratic models at some points."""

    def keep(self, rows: Tensor, columns: Tensor) -> None:
        """Go on with some rows of the rectangle and some of its columns (indices) only."""


def minimise(problems: Problems, start: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise every problem to convergence.

    Losses, gradients and points are as precise as `start`; only the linear systems of Newton's steps
    are solved in the models' precision, and no better than the step deserves. Rows and columns of the
    rectangle that are wholly done leave it.

    Method: truncated Newton with backtracking (Nocedal and Wright, Numerical Optimization, 7.1).

    Args:
        problems: What to minimise; it is left without the problems that finished first.
        start: First points, shape (G, F, P) float64; not modified.

    Returns:
        The points (G, F, P), and the passes over its rows each problem took (G, F) int64: gradients
        and Hessian products.
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
        direction, spent, solved = _steps(models, gradient, running)
        rounds[rows[:, None], columns] += spent + running
        slope = _dot(gradient, direction)
        along = problems.scores(direction)
        step = running.to(loss)
        while True:
            trial = problems.losses(point + _like(step, point) * direction, scores + _like(step, scores) * along)
            refused = ~(trial <= loss + SUFFICIENT * step * slope + ROUNDING * loss.abs()) & (step > 0)
            if not refused.any():
                break
            step = torch.where(refused, step * SHRINK, step)
            step = torch.where(step < SHORTEST, 0.0, step)
        point = point + _like(step, point) * direction
        scores = scores + _like(step, scores) * along
        loss = trial
        running = running & (step > 0) & ~(solved & (step == 1) & (-slope <= LAST))
    result[rows[:, None], columns] = point
    return result, rounds


def _steps(models: Quadratics, gradient: Tensor, running: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Newton's steps (G, F, P), the rounds they took and whether they are as precise as wanted (G, F)."""
    scale = gradient.abs().amax(-1).clamp(min=torch.finfo(gradient.dtype).tiny)
    residual = (-gradient / scale[..., None]).to(models.dtype)
    search = models.precondition(residual)
    size = _dot(residual, search)
    decrement = size.sqrt() * scale  # its square is about twice what the loss can fall
    precision = torch.maximum(10 * decrement, TARGET**0.5 / decrement).clamp(max=ROUGH)
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
        length = torch.where(active, size / _dot(search, product), 0.0)[..., None]
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
    """(G, F) values with as many axes as `other`."""
    return values.view(*values.shape, *[1] * (other.ndim - 2))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a, b)
