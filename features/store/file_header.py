"""The first bytes of a cache file: digests by which damage is found before HDF5 looks at it.

HDF5's library can crash or hang on a damaged file. So the user block states the digest of all bytes after
it, and one of the structure: all of these bytes but the bulk of the stored arrays, which have checksums of
their own. Opening a file checks its structure, whatever its size; verifying it checks everything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import h5py

from features.store.array_io import chunks_of, hash_ranges

HEADER_BYTES = 512  # an HDF5 user block
HEADER_START = b"audioheads-embeddings "
MOST_RANGES = 8  # of bulk bytes that a header states; what is not among them counts as structure

Ranges = list[list[int]]


def bulk_ranges(datasets: Sequence[h5py.Dataset]) -> Ranges:
    """Where the chunks of some datasets lie: the largest stretches, as [first, last+1] byte."""
    chunks = [[info.byte_offset, info.byte_offset + info.size] for data in datasets for info in chunks_of(data)]
    merged: Ranges = []
    for first, stop in sorted(chunks):
        if merged and merged[-1][1] == first:
            merged[-1][1] = stop
        else:
            merged.append([first, stop])
    return sorted(sorted(merged, key=lambda piece: piece[0] - piece[1])[:MOST_RANGES])


def make_header(path: Path, bulk: Ranges) -> bytes:
    """The user block for the file as it is."""
    stated = {"bulk": bulk, "sha256": _digest(path, []), "structure": _digest(path, bulk)}
    return (HEADER_START + json.dumps(stated).encode() + b"\n").ljust(HEADER_BYTES, b"\0")


def structure_is_whole(path: Path) -> bool:
    """Whether all but the stored arrays is as it was written."""
    try:
        stated = _stated(path)
        return stated["structure"] == _digest(path, stated["bulk"])
    except (ValueError, KeyError, TypeError):
        return False


def is_whole(path: Path) -> bool:
    """Whether every byte is as it was written."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER_BYTES) == make_header(path, _stated(path)["bulk"])
    except (ValueError, KeyError, TypeError):
        return False


def stated_digest(path: Path) -> str:
    """The SHA-256 of all bytes that the header states; empty where it states none."""
    try:
        return str(_stated(path)["sha256"])
    except (ValueError, KeyError, TypeError):
        return ""


def _stated(path: Path) -> dict:
    """What the user block says.

    Raises:
        ValueError: It is none of ours.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES or not head.startswith(HEADER_START):
        raise ValueError("no header")
    return json.loads(head[len(HEADER_START) :].rstrip(b"\0"))


def _digest(path: Path, skipped: Ranges) -> str:
    """SHA-256 hex of everything after the user block but for some ranges."""
    digest = hashlib.sha256(json.dumps(skipped).encode())
    size = path.stat().st_size
    starts = [HEADER_BYTES, *(stop for _, stop in skipped)]
    stops = [*(first for first, _ in skipped), size]
    hash_ranges(path, zip(starts, stops, strict=True), digest)
    return digest.hexdigest()
