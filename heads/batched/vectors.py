"""Pooled features of all clips, read by rows and layer, so that a head of one layer holds one layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from features.errors import RunError
from heads.batched.row_slices import row_slices

CHECKED_VALUES = 1 << 22  # values of the rows that are checked at a time


class Vectors(Protocol):
    """One vector per clip and layer. The stored type matters because it determines the rounding errors."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, L, D)."""

    @property
    def dtype(self) -> np.dtype:
        """Type in which the vectors are stored."""

    def __len__(self) -> int:
        """Number of clips."""

    def read(self, rows: np.ndarray, layer: int) -> np.ndarray:
        """Return the vectors of some rows at a layer position, a new array (n, D), float32 or float64."""


class _Wrapped:
    """The size and type of an array, or of other vectors."""

    def __init__(self, values: np.ndarray | Vectors) -> None:
        self._values = values

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, L, D)."""
        n, n_layers, dim = self._values.shape
        return n, n_layers, dim

    @property
    def dtype(self) -> np.dtype:
        """Type in which the vectors are stored."""
        return self._values.dtype

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._values)


class ArrayVectors(_Wrapped):
    """Vectors in an array (N, L, D)."""

    def __init__(self, values: np.ndarray) -> None:
        """Wrap an array."""
        if values.ndim != 3:
            raise ValueError(f"features of shape {values.shape}; they should be (N, L, D)")
        super().__init__(values)
        self.values = values

    def read(self, rows: np.ndarray, layer: int) -> np.ndarray:
        """See `Vectors.read`."""
        values = self.values[rows, layer]
        return values.astype(np.float32) if values.dtype == np.float16 else values


class SelectedLayers(_Wrapped):
    """Some layers of other vectors, in the given order."""

    def __init__(self, vectors: Vectors, layers: Sequence[int]) -> None:
        """Select layer positions."""
        super().__init__(vectors)
        self.vectors, self.layers = vectors, tuple(layers)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, number of selected layers, D)."""
        return self.vectors.shape[0], len(self.layers), self.vectors.shape[2]

    def read(self, rows: np.ndarray, layer: int) -> np.ndarray:
        """See `Vectors.read`."""
        return self.vectors.read(rows, self.layers[layer])


class LayerRows:
    """Some rows of vectors at every layer, (n, L, D), which are read one layer at a time: `rows[2:5, 7]` is (3, D)."""

    def __init__(self, vectors: Vectors, rows: np.ndarray) -> None:
        """Select rows."""
        self.vectors, self.rows = vectors, rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, L, D)."""
        return len(self.rows), self.vectors.shape[1], self.vectors.shape[2]

    def __getitem__(self, at: tuple[slice, int]) -> np.ndarray:
        """Read some of the rows at a layer position."""
        return self.vectors.read(self.rows[at[0]], at[1])


class FiniteVectors(_Wrapped):
    """Vectors that are read from a file; all rows that training uses are checked when their layer is first read."""

    def __init__(self, vectors: Vectors, used: np.ndarray) -> None:
        """Check the rows `used` of a layer before any of its rows is returned."""
        super().__init__(vectors)
        self.vectors, self.used = vectors, used
        self._checked: set[int] = set()

    def read(self, rows: np.ndarray, layer: int) -> np.ndarray:
        """See `Vectors.read`.

        Raises:
            RunError: A value of the layer is NaN or infinite.
        """
        if layer not in self._checked:  # two threads may check the same layer, which is only slower
            check_finite(self.vectors, self.used, [layer])
            self._checked.add(layer)
        return self.vectors.read(rows, layer)


def in_memory(vectors: Vectors) -> bool:
    """Whether all layers are in memory, so that reading them is free."""
    return isinstance(vectors.vectors if isinstance(vectors, SelectedLayers) else vectors, ArrayVectors)


def check_finite(vectors: Vectors, rows: np.ndarray, layers: Iterable[int]) -> None:
    """Check that the vectors of some rows are finite; a few rows are read at a time.

    Raises:
        RunError: A value is NaN or infinite.
    """
    bad = np.zeros(len(rows), dtype=np.int64)
    for layer in layers:
        for part in row_slices(len(rows), CHECKED_VALUES // vectors.shape[2]):
            bad[part] += (~np.isfinite(vectors.read(rows[part], layer))).sum(axis=1)
    if bad.any():
        clips = rows[bad > 0]
        raise RunError(
            f"{int(bad.sum())} feature values of {len(clips)} of {len(rows)} clips are NaN or infinite "
            f"(first: row {clips[0]}); extract them again or leave the clips out"
        )


def read_layers(vectors: Vectors, rows: np.ndarray) -> np.ndarray:
    """Return the vectors of some rows at every layer, (n, L, D)."""
    return np.stack([vectors.read(rows, layer) for layer in range(vectors.shape[1])], axis=1)
