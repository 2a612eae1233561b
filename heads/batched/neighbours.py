"""Exact nearest neighbours: distances in single precision with an error bound, then in double precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from features.numerics import full_float32

DISTANCES_BYTES = 2**26  # memory of the distances that are computed at once
MORE = 8  # candidates beyond two per neighbour
SMALLEST_NORM = 1e-12  # shorter vectors have no direction; as in `torch.nn.functional.normalize`
UNIT = 2.0**-24  # relative rounding error of float32


def queries_at_once(n_rows: int, dim: int, k: int) -> int:
    """Return the number of queries whose distances to all rows, and candidates in double precision, fit into memory."""
    return max(1, DISTANCES_BYTES // (8 * n_rows + 12 * dim * (2 * k + MORE)))


class Neighbours:
    """Rows to search, with their squared lengths."""

    def __init__(self, rows: Tensor) -> None:
        """Set the rows, shape (n, D) float32."""
        self.rows = rows
        self.squares = torch.cat([part.double().square().sum(1) for part in rows.split(1024)])

    def find(self, queries: Tensor, metrics: Sequence[str], k: int) -> dict[str, Tensor]:
        """Find the k nearest rows of each query, nearest first; of equal distances the first row.

        Distances in single precision minus their largest possible error are lower bounds. The rows with the lowest ones
        are candidates. If the bound of a row is above the distance of the k-th best candidate, the row is not a
        neighbour. All other rows become candidates. The distances of candidates are computed in double precision, and
        compared in single precision, so that copies of a clip have equal distances despite rounding. All metrics share
        one matrix product.

        Args:
            queries: Shape (m, D) float32. All are computed at once, see `queries_at_once`.
            metrics: `cosine` or `euclidean`.
            k: Number of neighbours, at most n.

        Returns:
            Positions among the rows for each metric, shape (m, k) int64.
        """
        with full_float32():
            products = queries @ self.rows.T
        lengths = queries.double().square().sum(1)
        return {metric: self._nearest(queries, lengths, products, metric, k) for metric in metrics}

    def _nearest(self, queries: Tensor, lengths: Tensor, products: Tensor, metric: str, k: int) -> Tensor:
        """Return the neighbours in one metric from the products of queries and rows (m, n)."""
        query_scale, row_scale = (_scale(squares, metric) for squares in (lengths, self.squares))
        query_squares, row_squares = lengths * query_scale**2, self.squares * row_scale**2
        error = (queries.shape[1] + 8) * UNIT  # of a product, relative to the product of lengths; 8 for the steps below
        bounds = products * (-2 * row_scale).float()
        bounds *= query_scale.float()[:, None]
        bounds += ((1 - error) * row_squares).float()
        bounds += ((1 - error) * query_squares).float()[:, None]
        lowest, candidates = bounds.topk(min(2 * k + MORE, len(self.rows)), largest=False)
        keys = self._keys(queries, query_scale, candidates, row_scale)
        best = keys.topk(k, dim=1, largest=False).values
        found = best & 0xFFFFFFFF
        worst = (best[:, -1] >> 32).to(torch.int32).view(torch.float32) * (1 + 4 * UNIT)
        if candidates.shape[1] < len(self.rows):
            for at in (lowest[:, -1] <= worst).nonzero()[:, 0].tolist():
                near = (bounds[at] <= worst[at]).nonzero()[:, 0]
                own = torch.cat(
                    [
                        self._keys(queries[at : at + 1], query_scale[at : at + 1], part[None], row_scale)[0]
                        for part in near.split(candidates.numel())
                    ]
                )
                found[at] = own.topk(k, largest=False).values & 0xFFFFFFFF
        return found

    def _keys(self, queries: Tensor, query_scale: Tensor, candidates: Tensor, row_scale: Tensor) -> Tensor:
        """Return numbers (m, c) int64 that sort candidates (m, c) by distance, then by position."""
        rows = self.rows[candidates].double().mul_(row_scale[candidates][..., None])
        rows -= (queries.double() * query_scale[:, None])[:, None]
        distances = rows.square_().sum(2).float()
        # The bits of non-negative floats sort like the floats; the row number breaks ties.
        return distances.view(torch.int32).long() << 32 | candidates


def _scale(squares: Tensor, metric: str) -> Tensor:
    """Return the factor of each vector that leaves distances in the metric: one over its length for cosines."""
    if metric == "euclidean":
        return torch.ones_like(squares)
    return 1 / squares.sqrt().clamp(min=SMALLEST_NORM)
