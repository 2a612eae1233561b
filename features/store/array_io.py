"""Large arrays in and out of files at the disk's pace: read in long stretches, hashed while the next one comes."""

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
CHECKSUM_BYTES = 4  # that HDF5 puts behind each chunk


def hash_ranges(path: Path, ranges: Iterable[tuple[int, int]], digest: Any) -> None:
    """Add the bytes first…stop-1 of each range of a file to a hashlib digest."""
    with path.open("rb", buffering=0) as file, Hashing(digest) as hashing:
        for first, stop in ranges:
            file.seek(first)
            while first < stop and (piece := file.read(min(stop - first, PIECE_BYTES))):
                hashing.add(piece)
                first += len(piece)


def read_array(
    dataset: h5py.Dataset, *, into: np.ndarray | None = None, past_hdf5: bool = True
) -> tuple[np.ndarray, str]:
    """A whole array and the SHA-256 of its values.

    Chunks that lie one after the other are read in one go, past HDF5, which takes them one by one and checks each
    with a checksum of its own that misses what SHA-256 finds.

    Args:
        dataset: Of numbers, as `features.store.writer` lays it out.
        into: Where to put the values: contiguous, of the same shape and type; None: a new array.
        past_hdf5: False: let HDF5 read it.
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
                raise OSError("the file is shorter than its index says")
            piece = flat[at : at + count * chunk]
            chunks = np.frombuffer(view, np.uint8).reshape(count, -1)[:, :chunk]
            whole = len(piece) // chunk
            piece[: whole * chunk].reshape(whole, chunk)[...] = chunks[:whole]
            piece[whole * chunk :] = chunks[whole:].reshape(-1)[: len(piece) - whole * chunk]
            hashing.add(piece.data)
            at += len(piece)
    return values, digest.hexdigest()


class Hashing:
    """A digest fed by a thread of its own, at most a few pieces behind. Use in a `with` block."""

    def __init__(self, digest: Any) -> None:
        """Feed `digest`."""
        self._digest = digest
        self._pool = ThreadPoolExecutor(1, "hash")
        self._waiting: list[Future[None]] = []

    def __enter__(self) -> Hashing:
        """Start."""
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for what was added."""
        self._pool.shutdown()
        for future in self._waiting:
            future.result()

    def add(self, piece: Any) -> None:
        """Hash a piece next; it must not change any more."""
        self._waiting.append(self._pool.submit(self._digest.update, piece))
        if len(self._waiting) > 2:
            self._waiting.pop(0).result()


def chunks_of(dataset: h5py.Dataset) -> list[h5py.h5d.StoreInfo]:
    """Where each chunk of a dataset lies, in the order of its values."""
    found: list[h5py.h5d.StoreInfo] = []
    if dataset.chunks:
        dataset.id.chunk_iter(found.append)
    return sorted(found, key=lambda info: info.chunk_offset)


def in_parallel(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """`work` on each item, in order, a few at a time; for work that waits for a disk or hashes."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "verify") as pool:
        yield from pool.map(work, items)


def _stretches(dataset: h5py.Dataset) -> list[tuple[int, int]] | None:
    """(first byte, number of chunks) of runs of chunks of at most `PIECE_BYTES`; None where HDF5 has to read them."""
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
    """Fill `view` from a position of a file; how many bytes there were."""
    done = 0
    while done < len(view) and (got := os.preadv(descriptor, [view[done:]], first + done)):
        done += got
    return done
