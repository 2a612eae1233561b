"""Stored frames of many clips, joined by id: read once into memory where they fit, clip by clip where not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType

import h5py
import numpy as np

from features.errors import CacheError
from features.store import EmbeddingTable

MEMORY_SHARE = 0.5  # of what is free when the frames are opened
FALLBACK_BYTES = 4 << 30  # where the system does not say what is free


class ClipFrames:
    """Frames of some clips of one cache file, in the order they were asked for.

    Attributes:
        lengths: (N,) int64, frames of each clip.
        dim: Numbers of a frame (layers times dimensions).
        in_memory: Whether they were read at once.
    """

    def __init__(
        self,
        table: EmbeddingTable,
        ids: Sequence[str],
        keys: Sequence[str] | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """Find the clips and, where they fit, read them.

        Args:
            table: A cache file with pooling `frames`; already verified.
            ids: Clip ids.
            keys: Their present content keys, when these are to be checked too.
            memory_bytes: Read all at once up to this size; None: half of the free memory.

        Raises:
            CacheError: No frames here, a clip is missing, or its audio has changed.
        """
        if table.cache_spec["frames"] is None:
            raise CacheError(f"{table.path} holds no frames; add `frames` to features.pooling")
        rows = table.rows(ids, keys)
        self._file: h5py.File | None = h5py.File(table.path, "r")
        self._stored: h5py.Dataset = self._file["frames/values"]
        offsets = self._file["frames/offsets"][()]
        self._starts = offsets[rows]
        self.lengths: np.ndarray = offsets[rows + 1] - self._starts
        self.dim = int(np.prod(self._stored.shape[1:]))
        self._values: np.ndarray | None = None
        needed = self._stored.dtype.itemsize * int(np.prod(self._stored.shape))
        if needed <= (free_bytes() * MEMORY_SHARE if memory_bytes is None else memory_bytes):
            self._values = self._stored[()].reshape(-1, self.dim)
            self.close()

    @property
    def in_memory(self) -> bool:
        """Whether all frames were read at once."""
        return self._values is not None

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._starts)

    def read(self, clip: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames start…stop-1 (cut at the clip's end) of the clip at this position: (F, dim)."""
        length = int(self.lengths[clip])
        stop = length if stop is None else min(stop, length)
        first = int(self._starts[clip])
        if self._values is not None:
            return self._values[first + start : first + stop]
        return self._stored[first + start : first + stop].reshape(-1, self.dim)

    def close(self) -> None:
        """Let go of the file; frames in memory stay."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> ClipFrames:
        """Use it in a `with` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def free_bytes() -> int:
    """Memory that is free now; a cautious guess where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return FALLBACK_BYTES
