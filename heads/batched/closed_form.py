"""Rows turned to their principal axes."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Turn rows to an orthonormal basis of their span that diagonalises their covariance.

    Args:
        rows: Shape (n, D).

    Returns:
        The turned rows (n, r) with r = min(n, D), and the basis (D, r).
    """
    n, dim = rows.shape
    basis = None
    if n < dim:
        basis, upper = torch.linalg.qr(rows.T)
        rows = upper.T
    turn = torch.linalg.eigh(rows.T @ rows)[1]
    return rows @ turn, turn if basis is None else basis @ turn
