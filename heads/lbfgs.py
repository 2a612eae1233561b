"""Many smooth convex problems minimised side by side: batched, preconditioned L-BFGS."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

MEMORY = 10  # pairs of (step, change of gradient) that approximate the curvature
SUFFICIENT = 1e-4  # Armijo's share of the decrease that the slope promises
SHRINK = 0.3  # of a refused step
SHORTEST = 1e-12  # step, below which a problem is given up
ROUNDING = 1e-14  # relative error of a loss, below which a rise is not a rise


class Problems(Protocol):
    """A rectangle of G × F independent convex problems in P variables each."""

    def evaluate(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (G, F), gradients (G, F, P) and a measure of curvature (G, F) at `points` (G, F, P)."""

    def inverse_curvature(self, curvatures: Tensor) -> Tensor:
        """A positive diagonal (G, F, P), near the inverse Hessian's where `evaluate` gave these `curvatures`."""

    def keep(self, rows: Tensor, columns: Tensor) -> None:
        """Go on with some rows of the rectangle and some of its columns (indices) only."""


def minimise(problems: Problems, start: Tensor, *, tolerance: float, max_rounds: int) -> tuple[Tensor, Tensor]:
    """Minimise every problem to convergence, each with its own step lengths.

    One round evaluates all problems once, at each one's trial point. A problem whose loss fell
    enough moves there and gets a new direction; another tries a shorter step in the next round.
    Rows and columns of the rectangle that are wholly done leave it.

    Method: Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 3.1; the initial inverse
    Hessian is the problems' own diagonal at the present point, scaled by the newest pair.

    Args:
        problems: What to minimise; it is left without the problems that finished first.
        start: First points, shape (G, F, P) float64; not modified.
        tolerance: A problem is done when gradient · diagonal · gradient, about twice what its loss
            can still fall, is at most this.
        max_rounds: Evaluations after which to stop in any case.

    Returns:
        The points (G, F, P), and the rounds each problem took (G, F) int64. A problem whose loss is
        not finite at the start stays there.
    """
    result, rounds = start.clone(), torch.zeros(start.shape[:2], dtype=torch.int64, device=start.device)
    rows, columns = (torch.arange(size, device=start.device) for size in start.shape[:2])
    point = start.clone()
    value, gradient, curvature = problems.evaluate(point)
    diagonal = problems.inverse_curvature(curvature)
    direction = -diagonal * gradient
    slope = _dot(gradient, direction)
    running = -slope > tolerance  # not so for nan
    step = torch.ones_like(value)
    pairs: list[Pair] = []
    for _ in range(max_rounds):
        if not running.any():
            break
        live = running.any(1).nonzero()[:, 0], running.any(0).nonzero()[:, 0]
        if len(live[0]) < len(rows) or len(live[1]) < len(columns):
            result[rows[:, None], columns] = point
            rows, columns = rows[live[0]], columns[live[1]]
            problems.keep(*live)
            state = (point, value, gradient, curvature, direction, slope, step, running)
            point, value, gradient, curvature, direction, slope, step, running = (_part(x, *live) for x in state)
            pairs = [Pair(*(_part(x, *live) for x in pair)) for pair in pairs]
        rounds[rows[:, None], columns] += running
        trial = point + step[..., None] * direction
        new_value, new_gradient, new_curvature = problems.evaluate(trial)
        moved = running & (new_value <= value + SUFFICIENT * step * slope + ROUNDING * value.abs())
        taken = moved[..., None]
        pairs = [
            *pairs,
            _pair(torch.where(taken, trial - point, 0.0), torch.where(taken, new_gradient - gradient, 0.0)),
        ]
        pairs = pairs[-MEMORY:]
        point = torch.where(taken, trial, point)
        gradient = torch.where(taken, new_gradient, gradient)
        value = torch.where(moved, new_value, value)
        curvature = torch.where(moved, new_curvature, curvature)
        diagonal = problems.inverse_curvature(curvature)
        direction = torch.where(taken, _two_loops(gradient, diagonal, pairs), direction)
        slope = torch.where(moved, _dot(gradient, direction), slope)
        step = torch.where(moved, 1.0, step * SHRINK)
        running &= (_dot(gradient, diagonal * gradient) > tolerance) & (step > SHORTEST)
    result[rows[:, None], columns] = point
    return result, rounds


class Pair(NamedTuple):
    """A step (G, F, P), the gradient's change over it (G, F, P), and 1 / their product (G, F); 0: not used."""

    step: Tensor
    change: Tensor
    weight: Tensor


def _pair(step: Tensor, change: Tensor) -> Pair:
    product = _dot(step, change)
    return Pair(step, change, torch.where(product > 0, 1 / product, 0.0))


def _two_loops(gradient: Tensor, diagonal: Tensor, pairs: list[Pair]) -> Tensor:
    """The L-BFGS direction, shape (G, F, P): minus the approximate inverse Hessian times the gradient."""
    q = gradient.clone()
    alphas: list[Tensor] = []
    scale = torch.zeros_like(pairs[0].weight)
    for step, change, weight in reversed(pairs):
        alpha = weight * _dot(step, q)
        q -= alpha[..., None] * change
        alphas.append(alpha)
        fresh = (scale == 0) & (weight > 0)  # each problem's newest real pair sets its scale
        if fresh.any():
            scale = torch.where(fresh, 1 / (weight * _dot(change, diagonal * change)), scale)
    q *= torch.where(scale > 0, scale, 1.0)[..., None] * diagonal
    for (step, change, weight), alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - weight * _dot(change, q))[..., None] * step
    return -q


def _part(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return values[rows][:, columns].contiguous()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a, b)
