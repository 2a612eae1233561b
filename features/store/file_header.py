"""The first bytes of a cache file: digests that reveal damage before HDF5 opens the file.

The HDF5 library can crash or hang on a damaged file. The user block therefore contains two digests: one of all bytes
after it, and one of the structure, which is all of these bytes except the large stored arrays (they have their own
checksums). Opening a file checks its structure, however large the file is. Verifying it checks every byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import h5py

HEADER_BYTES = 512  # an HDF5 user block
PIECE_BYTES = 1 << 22  # read and hashed at a time
HEADER_START = b"audioheads-embeddings "
MOST_RANGES = 8  # byte ranges of arrays that a header lists; all other bytes count as structure

Ranges = list[list[int]]


def array_ranges(datasets: Sequence[h5py.Dataset]) -> Ranges:
    """Return the largest contiguous byte ranges that hold chunks of the datasets, as [first, last + 1]."""
    chunks: list[h5py.h5d.StoreInfo] = []
    for dataset in datasets:
        if dataset.chunks:
            dataset.id.chunk_iter(chunks.append)
    merged: Ranges = []
    for first, stop in sorted((info.byte_offset, info.byte_offset + info.size) for info in chunks):
        if merged and merged[-1][1] == first:
            merged[-1][1] = stop
        else:
            merged.append([first, stop])
    return sorted(sorted(merged, key=lambda span: span[0] - span[1])[:MOST_RANGES])


def make_header(path: Path, arrays: Ranges) -> bytes:
    """Return the user block for the file's present bytes.

    Args:
        path: The file.
        arrays: Byte ranges that the structure's digest skips.
    """
    header = {"bulk": arrays, "sha256": _digest(path, []), "structure": _digest(path, arrays)}
    return (HEADER_START + json.dumps(header).encode() + b"\n").ljust(HEADER_BYTES, b"\0")


def structure_is_whole(path: Path) -> bool:
    """Whether all bytes except the stored arrays are as they were written."""
    try:
        header = _read_header(path)
        return header["structure"] == _digest(path, header["bulk"])
    except (ValueError, KeyError, TypeError):
        return False


def is_whole(path: Path) -> bool:
    """Whether every byte is as it was written."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER_BYTES) == make_header(path, _read_header(path)["bulk"])
    except (ValueError, KeyError, TypeError):
        return False


def stated_digest(path: Path) -> str:
    """Return the SHA-256 of the whole file according to its header; empty if there is no valid header."""
    try:
        return str(_read_header(path)["sha256"])
    except (ValueError, KeyError, TypeError):
        return ""


def _read_header(path: Path) -> dict:
    """Parse the user block.

    Raises:
        ValueError: The file has no audioheads header.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES or not head.startswith(HEADER_START):
        raise ValueError("no header")
    return json.loads(head[len(HEADER_START) :].rstrip(b"\0"))


def _digest(path: Path, skipped: Ranges) -> str:
    """Return the SHA-256 (hex) of all bytes after the user block except the skipped ranges."""
    digest = hashlib.sha256(json.dumps(skipped).encode())
    size = path.stat().st_size
    starts = [HEADER_BYTES, *(stop for _, stop in skipped)]
    stops = [*(first for first, _ in skipped), size]
    with path.open("rb", buffering=0) as file:
        for first, stop in zip(starts, stops, strict=True):
            file.seek(first)
            while first < stop and (piece := file.read(min(stop - first, PIECE_BYTES))):
                digest.update(piece)
                first += len(piece)
    return digest.hexdigest()
