"""Approximate inverses of logistic Hessians: the factors of K-FAC (Martens and Grosse, arXiv 1503.05671)."""

from __future__ import annotations

import torch
from torch import Tensor

FLATTEST = 1e-4  # smallest curvature over classes, relative to the largest


def class_axes(mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return curvatures over classes in their principal axes, and the axes.

    Args:
        mean: Mean of diag(p) - p pᵀ over rows, shape (…, K, K).

    Returns:
        Positive curvatures (…, K), and orthonormal columns (…, K, K).
    """
    values, turn = torch.linalg.eigh(mean)
    values[..., 0] = values.mean(-1)  # a shift of all classes has no curvature and no gradient
    return values.clamp(min=FLATTEST * values.amax(-1, keepdim=True)), turn


class KroneckerInverse:
    """Inverse of A ⊗ (mean of x xᵀ) + penalty for rows x in their principal axes, with one more column for the bias.

    A is the mean curvature over classes of a softmax, or one number per sigmoid.
    """

    def __init__(self, mean: Tensor, axes: Tensor, spread: Tensor, l2: float) -> None:
        """Factorise.

        Args:
            mean: Mean curvature, (K, K) float64 of one softmax, or (K,) of K sigmoids.
            axes: Principal axes of the rows, shape (D, D) float32.
            spread: Mean square of the rows along each axis, shape (D,) float64.
            l2: Penalty of all weights; the bias has none.
        """
        self.axes = axes
        self.turn: Tensor | None = None
        values = mean
        if mean.ndim == 2:
            values, turn = class_axes(mean)
            self.turn = turn.float()
        hessian = torch.cat([values[:, None] * spread + l2, values[:, None]], 1)
        self.inverse = (1 / hessian.clamp(min=1e-30)).float()  # (K, D + 1)

    def times(self, residuals: Tensor) -> Tensor:
        """Return the product with residuals of K outputs, shape (K, D + 1)."""
        turned = residuals if self.turn is None else self.turn.T @ residuals
        scaled = self.inverse * torch.cat([turned[:, :-1] @ self.axes, turned[:, -1:]], 1)
        found = torch.cat([scaled[:, :-1] @ self.axes.T, scaled[:, -1:]], 1)
        return found if self.turn is None else self.turn @ found

    def keep(self, outputs: Tensor) -> None:
        """Keep only some sigmoids."""
        self.inverse = self.inverse[outputs]
