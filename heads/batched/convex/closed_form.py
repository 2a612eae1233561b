"""Closed-form ridge regression in the principal axes of the rows."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate rows to an orthonormal basis of their span that diagonalises their covariance.

    Args:
        rows: Shape (n, D).

    Returns:
        The rotated rows (n, r) with r = min(n, D), and the basis (D, r).
    """
    n, dim = rows.shape
    basis = None
    if n < dim:
        basis, upper = torch.linalg.qr(rows.T)
        rows = upper.T
    turn = torch.linalg.eigh(rows.T @ rows)[1]
    return rows @ turn, turn if basis is None else basis @ turn


def ridge_path(rows: Tensor, values: Tensor, l2: Tensor) -> Tensor:
    """Minimise half the mean squared error plus l2 / 2 times the squared norm of the weights, for each l2.

    Equivalent to scikit-learn's `Ridge` with alpha = l2 · n. In principal axes, the normal equations need one
    division per weight.

    Args:
        rows: Centred training rows in their principal axes, shape (n, r) float64.
        values: Targets of the rows, shape (n, 1).
        l2: Penalties, shape (F,).

    Returns:
        Weights and bias (last) of each penalty, shape (F, 1, r + 1).
    """
    bias = values.mean()
    products = rows.T @ (values[:, 0] - bias) / len(rows)
    return ridge_weights(products, rows.square().mean(0), bias, l2)


def ridge_weights(products: Tensor, spread: Tensor, bias: Tensor, l2: Tensor) -> Tensor:
    """Solve `ridge_path` from moments: one division per weight.

    Args:
        products: Mean of rows in their principal axes times centred targets, shape (r,).
        spread: Mean squares of the rows, shape (r,).
        bias: Mean of the targets, a scalar.
        l2: Penalties, shape (F,).

    Returns:
        Weights and bias (last) of each penalty, shape (F, 1, r + 1).
    """
    return torch.cat([products / (spread + l2[:, None]), bias.expand(len(l2), 1)], 1)[:, None]
