"""Stored frames of many clips, looked up by id: read into memory at once if they fit, else clip by clip."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from threading import Lock
from types import TracebackType

import h5py
import numpy as np

from features.store.table import EmbeddingTable

MEMORY_SHARE = 0.5  # of the free memory when the frames are opened
FALLBACK_BYTES = 4 << 30  # assumed free memory if the system does not report it
MOST_OPEN = 32  # files of a set that are open at a time


class ClipFrames:
    """Frames of some clips of one cache, in the requested order. Several threads may read at the same time.

    Attributes:
        lengths: (N,) int64, number of frames of each clip.
        dim: Values per frame (layers times dimensions).
        in_memory: Whether all frames were read into memory.
    """

    def __init__(
        self,
        table: EmbeddingTable,
        ids: Sequence[str],
        keys: Sequence[str] | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """Locate the clips and read their frames if they fit in memory.

        Args:
            table: A verified cache with pooling `frames`.
            ids: Clip ids.
            keys: Their present content keys; None skips this check.
            memory_bytes: Read all frames at once up to this size; None for half of the free memory.

        Raises:
            CacheError: The cache stores no frames, a clip or file is missing, or a clip's audio has changed.
        """
        table.check_holds_frames()
        rows = table.rows(ids, keys)
        stored = table.cache_spec["frames"]
        self._table = table
        self._shard_numbers = table.locations.shard_number[rows]
        self._starts = table.locations.first_frame[rows]
        self.lengths: np.ndarray = table.n_frames[rows].astype(np.int64)
        self.dim = len(stored["layers"]) * table.spec.dim
        self._dtype = np.dtype(stored["dtype"])
        self._open: OrderedDict[int, tuple[ExitStack, h5py.Dataset]] = OrderedDict()
        self._lock = Lock()
        self._values: np.ndarray | None = None
        needed = self._dtype.itemsize * self.dim * int(self.lengths.sum())
        if needed <= (free_bytes() * MEMORY_SHARE if memory_bytes is None else memory_bytes):
            self._read_all()

    @property
    def in_memory(self) -> bool:
        """Whether all frames were read into memory."""
        return self._values is not None

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._starts)

    def read(self, clip: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return frames of one clip, (F, dim).

        Args:
            clip: Position of the clip.
            start: First frame.
            stop: One past the last frame, limited to the clip's length; None for the end.

        Raises:
            CacheError: A file is missing or damaged.
        """
        length = int(self.lengths[clip])
        stop = length if stop is None else min(stop, length)
        first = int(self._starts[clip])
        if self._values is not None:
            return self._values[first + start : first + stop]
        with self._lock:  # another thread may close the file to open its own
            values = self._stored(int(self._shard_numbers[clip]))[first + start : first + stop]
        return values.reshape(-1, self.dim)

    def close(self) -> None:
        """Close the files; frames in memory stay available."""
        while self._open:
            self._open.popitem()[1][0].close()

    def __enter__(self) -> ClipFrames:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _stored(self, number: int) -> h5py.Dataset:
        """Return the frames of one shard file; the least recently used file is closed if too many are open."""
        if number not in self._open:
            if len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)[1][0].close()
            stack = ExitStack()
            self._open[number] = stack, stack.enter_context(self._table.opened(number))["frames/values"]
        self._open.move_to_end(number)
        return self._open[number][1]

    def _read_all(self) -> None:
        """Read all frames in the order of the files, so that adjacent clips are read together."""
        self._values = np.empty((int(self.lengths.sum()), self.dim), self._dtype)
        starts = np.zeros_like(self._starts)
        at = 0
        for number, first, clips in self._runs():
            count = int(self.lengths[clips].sum())
            self._values[at : at + count] = self._stored(number)[first : first + count].reshape(-1, self.dim)
            starts[clips] = at + self._starts[clips] - first
            at += count
        self._starts = starts
        self.close()

    def _runs(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield (shard file, first frame, positions of clips) for clips stored contiguously."""
        order = np.lexsort((self._starts, self._shard_numbers))
        order = order[self.lengths[order] > 0]
        if not len(order):
            return
        numbers, starts = self._shard_numbers[order], self._starts[order]
        ends = starts + self.lengths[order]
        breaks = 1 + np.flatnonzero((numbers[1:] != numbers[:-1]) | (starts[1:] != ends[:-1]))
        for clips in np.split(order, breaks):
            yield int(self._shard_numbers[clips[0]]), int(self._starts[clips[0]]), clips


def free_bytes() -> int:
    """Return the free memory in bytes; a cautious guess if the system does not report it."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return FALLBACK_BYTES
