"""Merge cache files: select the newest row of each clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from features.store import table as store
from features.store.layered import rows_per_chunk
from features.store.writer import CacheRows, Totals

COPY_BYTES = 1 << 26

SUMMED_COSTS = (
    *("clips", "audio_s", "compute_s", "read_s", "forward_s", "pool_s", "write_s"),
    *("steady_clips", "steady_audio_s", "steady_s"),
)
LARGEST_COSTS = ("load", "rounding_error")


@dataclass(frozen=True)
class Merged:
    """The rows of each source that belong to the new state; sources are ordered from old to new.

    Attributes:
        chosen: Rows of each source, ascending.
        failures: (id, key, reason), sorted by id.
        cost: The total cost of all sources.
    """

    chosen: list[np.ndarray]
    failures: list[tuple[str, str, str]]
    cost: dict[str, Any]

    def totals(self, sources: Sequence[store.EmbeddingTable]) -> Totals:
        """Count the chosen clips and their frames."""
        frames = (int(table.n_frames[rows].sum()) for table, rows in zip(sources, self.chosen, strict=True))
        return Totals(sum(map(len, self.chosen)), sum(frames))


def merge(sources: Sequence[store.EmbeddingTable], failures: Iterable[tuple[str, str, str]]) -> Merged:
    """Select each clip's newest row, and the failures that no later row has resolved.

    Args:
        sources: Tables, oldest first.
        failures: New failures as (id, key, reason).
    """
    failed: dict[str, tuple[str, str]] = {}
    cost: dict[str, Any] = {}
    for table in sources:
        embedded = set(table.ids) if failed else set()
        failed = {clip: failure for clip, failure in failed.items() if clip not in embedded} | table.failures
        largest = {name: _largest(cost.get(name), table.cost.get(name)) for name in LARGEST_COSTS}
        cost = table.cost | largest | {name: cost.get(name, 0) + table.cost.get(name, 0) for name in SUMMED_COSTS}
    failed |= {clip: (key, reason) for clip, key, reason in failures}
    return Merged(_newest(sources), [(clip, *failure) for clip, failure in sorted(failed.items())], cost)


def _largest(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _newest(sources: Sequence[store.EmbeddingTable]) -> list[np.ndarray]:
    """Return the rows of each source whose clip appears in no later source."""
    ids = pa.chunked_array([table.clips.texts("id") for table in sources], pa.large_string())
    clip = ids.combine_chunks().dictionary_encode().indices.to_numpy()
    last = np.empty(len(clip), np.int64)
    last[clip] = np.arange(len(clip))  # the last assignment to a clip wins
    is_newest = last[clip] == np.arange(len(clip))
    ends = np.cumsum([0, *map(len, sources)])
    return [np.flatnonzero(is_newest[first:end]) for first, end in pairwise(ends)]


@dataclass(frozen=True)
class _StoredFrames:
    """Frames of one clip in an open file."""

    values: h5py.Dataset
    start: int
    stop: int

    def pieces(self, most_bytes: int) -> Iterator[np.ndarray]:
        """Read the frames in pieces, see `features.store.writer.LongFrames`."""
        step = max(1, most_bytes // (self.values.dtype.itemsize * int(np.prod(self.values.shape[1:]))))
        for first in range(self.start, self.stop, step):
            yield self.values[first : min(first + step, self.stop)]


def copies(
    sources: Sequence[store.EmbeddingTable], chosen: Sequence[np.ndarray], failures: list[tuple[str, str, str]]
) -> Iterator[CacheRows]:
    """Yield the chosen rows of each source in pieces, then the failures.

    Args:
        sources: Tables that are single files, not sets.
        chosen: Rows of each source, ascending.
        failures: (id, key, reason).
    """
    for table, rows in zip(sources, chosen, strict=True):
        with table.opened(0) as file:
            step = _rows_at_a_time(file, table)
            for first in range(0, len(table), step):
                piece = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + step)]
                if not len(piece):
                    continue
                clips = table.clips.take(piece)
                yield CacheRows(
                    ids=clips.texts("id").to_pylist(),
                    keys=clips.texts("key").to_pylist(),
                    durations_s=clips.numbers("duration_s").tolist(),
                    n_frames=clips.numbers("n_frames").tolist(),
                    pooled={name: _rows(values, piece) for name, values in file["embeddings"].items()},
                    frames=_ragged(file["frames/values"], table, piece) if "frames" in file else None,
                )
    yield CacheRows(failures=failures)


def _rows(values: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """Read ascending rows of a dataset, and the rows between them."""
    start, stop = int(rows[0]), int(rows[-1]) + 1
    span = values[start:stop]
    return span if len(span) == len(rows) else span[rows - start]


def _rows_at_a_time(file: h5py.File, table: store.EmbeddingTable) -> int:
    """Return the number of rows of about `COPY_BYTES` that fill whole chunks."""
    step = max(1, COPY_BYTES // (4 * len(table.spec.layers) * table.spec.dim))
    held = max(map(rows_per_chunk, file["embeddings"].values()), default=1)
    return max(held, step // held * held)


def _ragged(values: h5py.Dataset, table: store.EmbeddingTable, rows: np.ndarray) -> list[Any]:
    """Return frames of some clips that are read only when they are written."""
    starts = table.locations.first_frame[rows]
    return [_StoredFrames(values, int(a), int(a + n)) for a, n in zip(starts, table.n_frames[rows], strict=True)]
