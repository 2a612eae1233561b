"""Stored frames of many clips, joined by id: read once into memory where they fit, clip by clip where not."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType

import h5py
import numpy as np

from features.store.table import EmbeddingTable

MEMORY_SHARE = 0.5  # of what is free when the frames are opened
FALLBACK_BYTES = 4 << 30  # where the system does not say what is free
MOST_OPEN = 32  # files of a set


class ClipFrames:
    """Frames of some clips of one cache, in the order they were asked for.

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
            table: A cache with pooling `frames`; already verified.
            ids: Clip ids.
            keys: Their present content keys, when these are to be checked too.
            memory_bytes: Read all at once up to this size; None: half of the free memory.

        Raises:
            CacheError: No frames here, a clip or a file is missing, or its audio has changed.
        """
        table.check_holds_frames()
        rows = table.rows(ids, keys)
        stored = table.cache_spec["frames"]
        self._table = table
        self._members = table.locations.shard_number[rows]
        self._starts = table.locations.first_frame[rows]
        self.lengths: np.ndarray = table.n_frames[rows].astype(np.int64)
        self.dim = len(stored["layers"]) * table.spec.dim
        self._dtype = np.dtype(stored["dtype"])
        self._open: OrderedDict[int, tuple[ExitStack, h5py.Dataset]] = OrderedDict()
        self._values: np.ndarray | None = None
        needed = self._dtype.itemsize * self.dim * int(self.lengths.sum())
        if needed <= (free_bytes() * MEMORY_SHARE if memory_bytes is None else memory_bytes):
            self._read_all()

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
        return self._stored(int(self._members[clip]))[first + start : first + stop].reshape(-1, self.dim)

    def close(self) -> None:
        """Let go of the files; frames in memory stay."""
        while self._open:
            self._open.popitem()[1][0].close()

    def __enter__(self) -> ClipFrames:
        """Use it in a `with` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _stored(self, member: int) -> h5py.Dataset:
        """The frames of one file, which stays open until others are needed more."""
        if member not in self._open:
            if len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)[1][0].close()
            stack = ExitStack()
            self._open[member] = stack, stack.enter_context(self._table.opened(member))["frames/values"]
        self._open.move_to_end(member)
        return self._open[member][1]

    def _read_all(self) -> None:
        """Into memory, in the order of the files, so that neighbours are read together."""
        self._values = np.empty((int(self.lengths.sum()), self.dim), self._dtype)
        starts = np.zeros_like(self._starts)
        at = 0
        for member, first, clips in self._runs():
            count = int(self.lengths[clips].sum())
            self._values[at : at + count] = self._stored(member)[first : first + count].reshape(-1, self.dim)
            starts[clips] = at + self._starts[clips] - first
            at += count
        self._starts = starts
        self.close()

    def _runs(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """(file, first frame, positions of clips) of clips that lie one after the other."""
        order = np.lexsort((self._starts, self._members))
        order = order[self.lengths[order] > 0]
        if not len(order):
            return
        members, starts = self._members[order], self._starts[order]
        ends = starts + self.lengths[order]
        breaks = 1 + np.flatnonzero((members[1:] != members[:-1]) | (starts[1:] != ends[:-1]))
        for clips in np.split(order, breaks):
            yield int(self._members[clips[0]]), int(self._starts[clips[0]]), clips


def free_bytes() -> int:
    """Memory that is free now; a cautious guess where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return FALLBACK_BYTES
