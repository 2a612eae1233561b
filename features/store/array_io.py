"""Read and hash large arrays at disk speed: long sequential reads, hashed in a second thread."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np

PIECE_BYTES = 1 << 22
CHECKSUM_BYTES = 4  # HDF5 appends a checksum to each chunk


def hash_ranges(path: Path, ranges: Iterable[tuple[int, int]], digest: Any) -> None:
    """Add bytes of a file to a digest.

    Args:
        path: The file.
        ranges: (first, stop) byte ranges, in the order in which they are hashed.
        digest: A hashlib digest.
    """
    with path.open("rb", buffering=0) as file, Hashing(digest) as hashing:
        for first, stop in ranges:
            file.seek(first)
            while first < stop and (piece := file.read(min(stop - first, PIECE_BYTES))):
                hashing.add(piece)
                first += len(piece)


def read_array(
    dataset: h5py.Dataset, *, into: np.ndarray | None = None, past_hdf5: bool = True
) -> tuple[np.ndarray, str]:
    """Read a whole array and compute the SHA-256 of its values.

    Adjacent chunks are read in one call, without HDF5. HDF5 would read them one by one and verify each with its own
    checksum, which is weaker than SHA-256.

    Args:
        dataset: A dataset of numbers written by `features.store.writer`.
        into: A contiguous array of the same shape and type to fill; None for a new array.
        past_hdf5: Read the chunks directly where possible; False lets HDF5 read them.

    Returns:
        The values and the digest (hex).

    Raises:
        OSError: The file is too short or cannot be read.
    """
    values = np.empty(dataset.shape, dataset.dtype) if into is None else into
    digest = hashlib.sha256()
    stretches = _stretches(dataset) if past_hdf5 else None
    if stretches is None:
        if values.size:
            dataset.read_direct(values)
        digest.update(values.reshape(-1).view(np.uint8).data if values.size else b"")
        return values, digest.hexdigest()
    flat = values.reshape(-1).view(np.uint8)
    descriptor, chunk = dataset.file.id.get_vfd_handle(), _chunk_bytes(dataset)
    stored = bytearray((PIECE_BYTES // (chunk + CHECKSUM_BYTES) + 1) * (chunk + CHECKSUM_BYTES))
    at = 0
    if stretches and hasattr(os, "posix_fadvise"):
        first, (last, count) = stretches[0][0], stretches[-1]
        length = max(0, last + count * (chunk + CHECKSUM_BYTES) - first)
        os.posix_fadvise(descriptor, first, length, os.POSIX_FADV_SEQUENTIAL)
        os.posix_fadvise(descriptor, first, length, os.POSIX_FADV_WILLNEED)
    with Hashing(digest) as hashing:
        for first, count in stretches:
            view = memoryview(stored)[: count * (chunk + CHECKSUM_BYTES)]
            if _read_at(descriptor, view, first) < len(view):
                raise OSError("the file is shorter than its chunk index requires")
            piece = flat[at : at + count * chunk]
            chunks = np.frombuffer(view, np.uint8).reshape(count, -1)[:, :chunk]
            whole = len(piece) // chunk
            piece[: whole * chunk].reshape(whole, chunk)[...] = chunks[:whole]
            piece[whole * chunk :] = chunks[whole:].reshape(-1)[: len(piece) - whole * chunk]
            hashing.add(piece.data)
            at += len(piece)
    return values, digest.hexdigest()


class Hashing:
    """Updates a digest in a separate thread that is at most a few pieces behind. Use in a `with` block."""

    def __init__(self, digest: Any) -> None:
        """Update `digest`, a hashlib digest."""
        self._digest = digest
        self._pool = ThreadPoolExecutor(1, "hash")
        self._waiting: list[Future[None]] = []

    def __enter__(self) -> Hashing:
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Wait until all added pieces are hashed."""
        self._pool.shutdown()
        for future in self._waiting:
            future.result()

    def add(self, piece: Any) -> None:
        """Queue a piece (a bytes-like object) for hashing; it must not change afterwards."""
        self._waiting.append(self._pool.submit(self._digest.update, piece))
        if len(self._waiting) > 2:
            self._waiting.pop(0).result()


def chunks_of(dataset: h5py.Dataset) -> list[h5py.h5d.StoreInfo]:
    """Return the location of each chunk of a dataset, in the order of its values."""
    found: list[h5py.h5d.StoreInfo] = []
    if dataset.chunks:
        dataset.id.chunk_iter(found.append)
    return sorted(found, key=lambda info: info.chunk_offset)


def in_parallel(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Yield `work(item)` for each item in order, a few at a time in threads; for work bound by the disk or hashing."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "verify") as pool:
        yield from pool.map(work, items)


def _stretches(dataset: h5py.Dataset) -> list[tuple[int, int]] | None:
    """Return (first byte, chunks) of adjacent chunks, at most `PIECE_BYTES` each; None if only HDF5 can read them."""
    plain = dataset.chunks and dataset.chunks[1:] == dataset.shape[1:] and dataset.dtype.isnative
    if not plain or dataset.compression or dataset.scaleoffset or dataset.shuffle or not dataset.fletcher32:
        return None
    if not isinstance(dataset.file.id.get_vfd_handle(), int):
        return None
    chunk = _chunk_bytes(dataset)
    most = max(1, PIECE_BYTES // (chunk + CHECKSUM_BYTES))
    runs: list[tuple[int, int]] = []
    for info in chunks_of(dataset):
        if info.filter_mask or info.size != chunk + CHECKSUM_BYTES:
            return None
        if runs and runs[-1][1] < most and runs[-1][0] + runs[-1][1] * info.size == info.byte_offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((info.byte_offset, 1))
    expected = -(-dataset.shape[0] // dataset.chunks[0])
    return runs if sum(count for _, count in runs) == expected else None


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return int(np.prod(dataset.chunks)) * dataset.dtype.itemsize


def _read_at(descriptor: int, view: memoryview, first: int) -> int:
    """Fill `view` from a position in a file and return the number of bytes read."""
    done = 0
    while done < len(view) and (got := os.preadv(descriptor, [view[done:]], first + done)):
        done += got
    return done
