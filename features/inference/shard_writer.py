"""CacheRows and shards made beside the model: a thread takes what was embedded, checks it, and writes whole blocks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from features.errors import AudioError
from features.inference.device_transfer import ToHost
from features.inference.loader import check_unchanged
from features.inference.timing import Clock
from features.planning.plan import PlannedClip
from features.planning.settings import Settings
from features.pooling import POOLINGS
from features.store.writer import CacheRows, LongFrames

IN_FLIGHT = 3  # batches embedded, but not yet rows: what a block's writing may lag behind the model

WriteShard = Callable[[int, CacheRows, dict[str, Any]], None]
"""Writes one block: its number, its rows, and what went into them (see `EmbeddingTable.cost`)."""


@dataclass(frozen=True)
class Embedded:
    """Some clips as the model gave them.

    Attributes:
        clips: B of them.
        n_frames: B frame counts.
        arriving: By pooling (B, L, D) float32, `mean` always; with pooling `frames` also `frames` (B, F, L, D).
        frames: Each clip's frames (F, L, D), where they do not come in `arriving`.
    """

    clips: list[PlannedClip]
    n_frames: list[int]
    arriving: ToHost
    frames: list[np.ndarray | LongFrames] | None = None


@dataclass
class Batch:
    """One batch of the plan, embedded.

    Attributes:
        block: The number of its block.
        last: Whether the block ends with it.
        clips: How many it had.
        audio_s: Seconds of audio they had.
        parts: What the model gave.
        failures: (clip, reason, whether the content is to blame) of the others.
    """

    block: int
    last: bool
    clips: int
    audio_s: float
    parts: list[Embedded] = field(default_factory=list)
    failures: list[tuple[PlannedClip, str, bool]] = field(default_factory=list)

    def fail(self, clip: PlannedClip, reason: str, *, content: bool = True) -> None:
        """One of its clips cannot be embedded; unless its content is to blame, the next run tries again."""
        self.failures.append((clip, reason, content))


class ShardWriter:
    """Use in a `with` block; leaving it waits for everything put in, also after an error or Ctrl-C."""

    def __init__(self, settings: Settings, write: WriteShard, about: dict[str, Any], clock: Clock) -> None:
        """Write shards with `write`.

        Args:
            settings: Which poolings and frames to keep.
            write: Called in this object's thread, block by block.
            about: What to record with every block.
            clock: Says how long the model was busy.
        """
        self._settings = settings
        self._write = write
        self._about = about
        self._clock = clock
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[int, float, int]] = queue.SimpleQueue()
        self._room = threading.Semaphore(IN_FLIGHT)
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="write")

    def __enter__(self) -> ShardWriter:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish what was put in; raise what went wrong with it."""
        self._batches.put(None)
        interrupt: KeyboardInterrupt | None = None
        while not self._ended.is_set():  # Thread.join would take a thread for ended that Ctrl-C came in between
            try:
                self._ended.wait()
            except KeyboardInterrupt as pressed:  # the shard being written is finished first
                interrupt = pressed
        if interrupt is not None:
            raise interrupt
        if error is None:
            self.check()

    def put(self, batch: Batch) -> None:
        """Hand over a batch; waits while too many are on their way.

        Raises:
            RunError: An earlier block could not be written.
        """
        self._room.acquire()
        self.check()
        self._batches.put(batch)

    def check(self) -> None:
        """Raise what went wrong so far."""
        if self._error is not None:
            raise self._error

    def finished(self) -> Iterator[tuple[int, float, int]]:
        """(clips, seconds of audio, failures) of each batch done since this was last asked."""
        while not self._finished.empty():
            yield self._finished.get()

    def _work(self) -> None:
        """The thread: batches to rows, blocks to shards, until there are no more or one goes wrong."""
        block = _Block(self._settings)
        since, before = time.perf_counter(), self._clock.seconds()
        while (batch := self._batches.get()) is not None:
            try:
                if self._error is None:
                    with self._clock.measure("write"):
                        block.add(batch)
                    self._finished.put((batch.clips, batch.audio_s, len(batch.failures)))
                    if batch.last:
                        now, busy = time.perf_counter(), self._clock.seconds()
                        spent = {f"{part}_s": busy.get(part, 0.0) - before.get(part, 0.0) for part in busy}
                        cost = {**self._about, **spent, **block.size(), "compute_s": now - since}
                        since, before = now, busy
                        with self._clock.measure("write"):
                            self._write(batch.block, block.rows(), cost)
                        block = _Block(self._settings)
            except BaseException as error:  # raised where the run can end: in the thread that feeds this one
                self._error = error
            finally:
                self._room.release()
        self._ended.set()


class _Block:
    """A block's rows so far."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._methods = [method for method in POOLINGS if method in settings.pooling]
        self._rows = CacheRows(frames=[] if "frames" in settings.pooling else None)
        self._pooled: dict[str, list[np.ndarray]] = {method: [] for method in self._methods}
        self._clips, self._audio_s = 0, 0.0

    def size(self) -> dict[str, float]:
        """How much went in."""
        return {"clips": self._clips, "audio_s": self._audio_s}

    def add(self, batch: Batch) -> None:
        """Add a batch; clips whose embedding is not finite join its failures."""
        for part in batch.parts:
            values = {name: tensor.numpy() for name, tensor in part.arriving.wait().items()}
            finite = np.isfinite(values["mean"]).all(axis=(1, 2))
            for at, clip in enumerate(part.clips):
                if not finite[at]:
                    batch.fail(clip, "its embedding is not finite")
                    continue
                self._rows.ids.append(clip.id)
                self._rows.keys.append(clip.key)
                self._rows.durations_s.append(clip.native_s)
                self._rows.n_frames.append(part.n_frames[at])
                if self._rows.frames is not None:
                    kept = values["frames"][at, : part.n_frames[at]] if part.frames is None else part.frames[at]
                    self._rows.frames.append(kept)
            for method in self._methods:
                self._pooled[method].append(values[method][finite])
        for clip, reason, content in batch.failures:
            self._rows.failures.append((clip.id, _key_to_blame(clip) if content else "", reason))
        self._clips += batch.clips
        self._audio_s += batch.audio_s

    def rows(self) -> CacheRows:
        """All of them, ready to be written."""
        self._rows.pooled = {method: np.concatenate(values) for method, values in self._pooled.items() if values}
        return self._rows


def _key_to_blame(clip: PlannedClip) -> str:
    """The content key that a failure is about; empty, so that it is tried again, where the file has changed."""
    try:
        check_unchanged(clip)
    except AudioError:
        return ""
    return clip.key
