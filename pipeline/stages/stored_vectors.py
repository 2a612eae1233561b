"""Pooled features of an experiment's clips, read from the cache one layer at a time, for `heads.batched.vectors`."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np

from features.store.table import EmbeddingTable

KEPT_BYTES = 1 << 28  # layers kept in memory, in total


class StoredVectors:
    """Vectors in a cache file, with poolings concatenated; NaN for clips that are not in it.

    Several threads may read at a time. Layers stay in memory while they fit in `KEPT_BYTES` together. A layer that is
    larger than that is never held whole: its rows are read into the result. Each layer is verified when it is first
    read. Later reads compare only HDF5's checksums, and that the file is still the same.
    """

    def __init__(self, table: EmbeddingTable, poolings: Sequence[str], rows: np.ndarray) -> None:
        """Locate the vectors; none is read yet.

        Args:
            table: The cache.
            poolings: Pooling methods, in the order in which they are concatenated.
            rows: (N,) row of each clip in the table, -1 for clips that are not in it.
        """
        self._table, self._poolings, self._rows = table, tuple(poolings), rows
        self._verified: set[int] = set()
        self._kept: dict[int, np.ndarray] = {}
        self._lock = Lock()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, L, D·P) for P poolings."""
        return len(self._rows), len(self._table.spec.layers), self._table.spec.dim * len(self._poolings)

    @property
    def dtype(self) -> np.dtype:
        """Type in which the vectors are stored."""
        return np.dtype(self._table.cache_spec["dtype"])

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._rows)

    def read(self, rows: np.ndarray, layer: int) -> np.ndarray:
        """Return the vectors of some clips at a layer position, a new array (n, D·P) float32.

        Raises:
            CacheError: The data do not match their checksum, or the file was replaced meanwhile.
        """
        with self._lock:
            kept = self._whole_layer(layer)
        if kept is not None:
            return kept[rows].astype(np.float32, copy=False)
        values = np.empty((len(rows), self.shape[2]), np.float32)
        self._fill(values, self._rows[rows], layer, verify=False)
        return values

    def _whole_layer(self, layer: int) -> np.ndarray | None:
        """Return a layer that is kept in memory, in the stored type; None, after verifying it, if it is too large."""
        if layer in self._kept:
            return self._kept[layer]
        n_rows, _, dim = self.shape
        if (size := n_rows * dim * self.dtype.itemsize) > KEPT_BYTES:
            self._verify(layer)
            return None
        while self._kept and size * (1 + len(self._kept)) > KEPT_BYTES:
            self._kept.popitem()  # the newest: if all layers are read in turn, again and again, the oldest are found
        values = np.empty((n_rows, dim), self.dtype)
        self._fill(values, self._rows, layer, verify=layer not in self._verified)
        self._verified.add(layer)
        self._kept[layer] = values
        return values

    def _verify(self, layer: int) -> None:
        """Compare a layer's checksums, unless that was done before."""
        if layer not in self._verified:
            for pooling in self._poolings:
                for _ in self._table.blocks(pooling, layer, self._rows[self._rows >= 0]):
                    pass
            self._verified.add(layer)

    def _fill(self, values: np.ndarray, rows: np.ndarray, layer: int, *, verify: bool) -> None:
        """Read the vectors of some rows of the table into an array (n, D·P)."""
        present = np.flatnonzero(rows >= 0)
        values[rows < 0] = np.nan
        for number, pooling in enumerate(self._poolings):
            part = values[:, number * self._table.spec.dim : (number + 1) * self._table.spec.dim]
            for at, block in self._table.blocks(pooling, layer, rows[present], verify=verify):
                part[present[at]] = block
