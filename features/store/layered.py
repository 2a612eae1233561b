"""Arrays (N, L, D) that can be read by layer: chunks of one layer, and a checksum for each layer.

    embeddings/<pooling>  (N, L, D), chunks (rows, 1, D); its attribute `sha256` is the digest of its layers' digests
    checksums/<pooling>   (L,) SHA-256 (hex) of each layer's values (N, D), in the order of the rows

Files of format version 1 have chunks of whole rows and one checksum of the whole array. They are read here, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features.store.hdf5_file import WHOLE_ROWS_VERSION, array_digest, damaged, read_checked

CHUNK_BYTES = 1 << 20
SLAB_BYTES = 1 << 26  # the chunks of all layers that are written at a time


class LayeredWriter:
    """Writes an array in pieces of rows. Rows are collected until they fill chunks, so that each is written once."""

    def __init__(self, file: h5py.File, name: str, shape: tuple[int, int, int], dtype: Any) -> None:
        """Create the dataset, with HDF5's checksum in addition to ours.

        Args:
            file: The file to write.
            name: The dataset, `<group>/<name>`.
            shape: (N, L, D).
            dtype: The type to store.
        """
        n_rows, n_layers, dim = shape
        row_bytes = dim * np.dtype(dtype).itemsize
        rows = max(1, min(n_rows, CHUNK_BYTES // row_bytes, SLAB_BYTES // (n_layers * row_bytes)))
        options = {"chunks": (rows, 1, dim), "fletcher32": True} if n_rows else {}
        self.dataset = file.create_dataset(name, shape, dtype, **options)
        self._slab = np.empty((n_layers, rows, dim), dtype)
        self._digests = [hashlib.sha256() for _ in range(n_layers)]
        self._written = self._held = 0

    def add(self, values: np.ndarray) -> None:
        """Add (n, L, D) rows after those added before."""
        start, room = 0, self._slab.shape[1]
        while start < len(values):
            piece = values[start : start + room - self._held]
            self._slab[:, self._held : self._held + len(piece)] = piece.swapaxes(0, 1)
            self._held += len(piece)
            start += len(piece)
            if self._held == room:
                self._write()

    def finish(self) -> list[str]:
        """Write the remaining rows and the checksum of all layers, and return the checksum of each layer."""
        if self._held:
            self._write()
        digests = [digest.hexdigest() for digest in self._digests]
        self.dataset.attrs["sha256"] = digest_of_layers(digests)
        return digests

    def _write(self) -> None:
        end = self._written + self._held
        for layer, values in enumerate(self._slab[:, : self._held]):
            array_digest(values, self._digests[layer])
            self.dataset[self._written : end, layer] = values
        self._written, self._held = end, 0


def digest_of_layers(digests: Sequence[str]) -> str:
    """Return the SHA-256 (hex) of the digests of all layers, which is the checksum of the whole array."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def is_by_layer(file: h5py.File) -> bool:
    """Whether a cache file that is not the index of a set has chunks and checksums for each layer."""
    return file.attrs["format_version"] != WHOLE_ROWS_VERSION


def checksums_name(name: str) -> str:
    """Return the name of the dataset that holds the layers' checksums of a dataset."""
    return f"checksums/{name.rpartition('/')[2]}"


def rows_per_chunk(dataset: h5py.Dataset) -> int:
    """Return the number of rows that are stored together: reading fewer of them takes as long."""
    return dataset.chunks[0] if dataset.chunks else 1


def read_blocks(
    file: h5py.File, name: str, layer: int | None = None, rows: np.ndarray | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield an array in blocks of rows, of about `CHUNK_BYTES` for one layer.

    Args:
        file: An open cache file.
        name: The dataset.
        layer: The layer to read; None reads all.
        rows: Ascending rows; only the blocks that contain any of them are read, and their SHA-256 is not compared.
            None reads all blocks.

    Yields:
        The first row of a block, and its values in the stored type, (b, D), or (b, L, D) for all layers.

    Raises:
        CacheError: The values do not match their checksum. This is known, and raised, after the last block.
    """
    dataset = file[name]
    n_rows, n_layers, dim = dataset.shape
    whole_rows = not is_by_layer(file)
    layers = range(n_layers) if layer is None else [layer]
    held = rows_per_chunk(dataset)
    row_bytes = dim * dataset.dtype.itemsize * (n_layers if whole_rows else 1)
    step = max(1, CHUNK_BYTES // row_bytes // held) * held
    starts = range(0, n_rows, step) if rows is None else (np.unique(rows // step) * step).tolist()
    digests = [hashlib.sha256() for _ in ([None] if whole_rows else layers)]
    for first in starts:
        one = layer is not None and not whole_rows
        block = dataset[first : first + step, layer] if one else dataset[first : first + step]
        if rows is None:
            parts = [block] if one or whole_rows else block.swapaxes(0, 1)
            for part, digest in zip(parts, digests, strict=True):
                array_digest(part, digest)
        yield first, block if one or layer is None else block[:, layer]
    if rows is None:
        recorded = [dataset.attrs["sha256"]] if whole_rows else _recorded(file, name, layers)
        for number, digest in enumerate(digests):
            if digest.hexdigest() != recorded[number]:
                what = name if whole_rows else f"layer {layers[number]} of {name}"
                raise damaged(Path(file.filename), f"{what} does not match its checksum")


def _recorded(file: h5py.File, name: str, layers: Sequence[int]) -> list[str]:
    """Return the recorded checksums of some layers."""
    recorded = read_checked(file, checksums_name(name))
    return [recorded[layer].decode() for layer in layers]
