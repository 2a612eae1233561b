"""Mean and variance of columns in one pass over chunks of rows (Chan, Golub and LeVeque 1983)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from heads.batched.row_slices import row_slices

CHUNK_BYTES = 2**24  # float64 values that are read or standardised at once


def chunks_of_rows(n_rows: int, n_values: int) -> Iterator[slice]:
    """Yield the rows to read or standardise at once, given the number of values of a row."""
    return row_slices(n_rows, CHUNK_BYTES // (8 * n_values))


class ChunkMoments(NamedTuple):
    """Moments of one chunk of rows.

    Attributes:
        n: Number of rows.
        mean: Mean of each column, float64.
        scatter: Sum of squared deviations from the mean, same shape.
    """

    n: int
    mean: np.ndarray
    scatter: np.ndarray


def chunk_moments(values: np.ndarray) -> ChunkMoments:
    """Return the moments of the rows of a float64 array (n, …), which is overwritten."""
    mean = values.mean(axis=0)
    values -= mean
    np.square(values, out=values)
    return ChunkMoments(len(values), mean, values.sum(axis=0))


class RunningMoments:
    """Moments of all chunks that were added.

    Attributes:
        n: Number of rows.
        mean: Mean of each column, float64.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Start without rows, for columns of a shape."""
        self.n, self.mean, self._scatter = 0, np.zeros(shape), np.zeros(shape)

    def add(self, chunk: ChunkMoments) -> None:
        """Add the rows of a chunk."""
        total = self.n + chunk.n
        delta = chunk.mean - self.mean
        self.mean += delta * (chunk.n / total)
        self._scatter += chunk.scatter + delta * delta * (self.n * chunk.n / total)
        self.n = total

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of each column; 0 without rows."""
        return np.sqrt(self._scatter / max(self.n, 1))
