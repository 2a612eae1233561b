"""Write shards in a separate thread, concurrent with the model: check embeddings and write complete blocks."""

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
from features.inference.frame_buffer import FrameBuffer
from features.inference.loader import check_unchanged
from features.inference.timing import Clock, machine_load
from features.planning.plan import PlannedClip
from features.planning.settings import Settings
from features.pooling import POOLINGS
from features.store.writer import CacheRows

IN_FLIGHT = 3  # batches by which writing may lag behind the model
FLOAT16_OVERFLOW = (
    f"its frames exceed {np.finfo(np.float16).max:.0f}, the largest float16; set features.frame_dtype to float32"
)

WriteShard = Callable[[int, CacheRows, dict[str, Any]], None]
"""Writes one block. Arguments: its number, its rows, and their cost (see `EmbeddingTable.cost`)."""


@dataclass(frozen=True)
class Embedded:
    """The model's output for some clips.

    Attributes:
        clips: B clips.
        n_frames: B frame counts.
        arriving: pooling -> (B, L, D) float32, always with `mean`; with pooling `frames` also `frames` (B, F, L, D).
        frames: The frames of each clip, (F, L, D), if they are not in `arriving`.
    """

    clips: list[PlannedClip]
    n_frames: list[int]
    arriving: ToHost
    frames: list[FrameBuffer] | None = None


@dataclass
class Batch:
    """One embedded batch of the plan.

    Attributes:
        block: The number of its block.
        last: Whether it is the last batch of the block.
        clips: Number of clips.
        audio_s: Seconds of audio, with clips that fail.
        parts: The model's output.
        failures: (clip, reason, whether the content is the cause) of clips that could not be embedded.
    """

    block: int
    last: bool
    clips: int
    audio_s: float
    parts: list[Embedded] = field(default_factory=list)
    failures: list[tuple[PlannedClip, str, bool]] = field(default_factory=list)

    @property
    def embedded_s(self) -> float:
        """Seconds of audio without the clips that failed, whose headers may state any length."""
        return max(0.0, self.audio_s - sum(clip.native_s for clip, *_ in self.failures))

    def fail(self, clip: PlannedClip, reason: str, *, content: bool = True) -> None:
        """Record that a clip cannot be embedded.

        Args:
            clip: The clip.
            reason: Why.
            content: Whether the content is the cause; if not, the next run tries again.
        """
        self.failures.append((clip, reason, content))


class ShardWriter:
    """Writes shards in a thread. Leaving its `with` block waits for all batches, even after an error or Ctrl-C."""

    def __init__(
        self,
        settings: Settings,
        write: WriteShard,
        about: dict[str, Any],
        clock: Clock,
        *,
        own_threads: int = 0,
        warm: bool = False,
    ) -> None:
        """Write shards with `write`.

        Args:
            settings: Which poolings and frames to store.
            write: Called in this object's thread, block by block.
            about: Values to record with the cost of every block.
            clock: Measures the busy time of each part.
            own_threads: Number of threads of this run that compute or decode, see `machine_load`.
            warm: Whether the backbone has been warmed up, so that the first batch counts in the steady figures.
        """
        self._warm = warm
        self._own_threads = own_threads
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
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all batches and raise the error of the thread, if any."""
        self._batches.put(None)
        interrupt: KeyboardInterrupt | None = None
        while not self._ended.is_set():  # after a Ctrl-C, Thread.join may take a running thread for ended
            try:
                self._ended.wait()
            except KeyboardInterrupt as pressed:  # finish the current shard first
                interrupt = pressed
        if interrupt is not None:
            raise interrupt
        if error is None:
            self.check()

    def put(self, batch: Batch) -> None:
        """Queue a batch; waits while too many are queued.

        Raises:
            RunError: An earlier block could not be written.
        """
        self._room.acquire()
        self.check()
        self._batches.put(batch)

    def check(self) -> None:
        """Raise the thread's error, if any."""
        if self._error is not None:
            raise self._error

    def finished(self) -> Iterator[tuple[int, float, int]]:
        """Yield (clips, seconds of audio, failures) of each batch finished since the last call."""
        while not self._finished.empty():
            yield self._finished.get()

    def _work(self) -> None:
        """Run in the thread: collect batches and write blocks until the end or the first error."""
        block = _Block(self._settings)
        since, before = time.perf_counter(), self._clock.seconds()
        # the first batch of a run pays for starting libraries and buffers
        steady_since: float | None = since if self._warm else None
        while (batch := self._batches.get()) is not None:
            try:
                if self._error is None:
                    with self._clock.measure("write"):
                        block.add(batch)
                    if steady_since is None:
                        steady_since = time.perf_counter()
                        block.end_warm_up()
                    self._finished.put((batch.clips, batch.embedded_s, len(batch.failures)))
                    if batch.last:
                        now, busy = time.perf_counter(), self._clock.seconds()
                        spent = {f"{part}_s": busy.get(part, 0.0) - before.get(part, 0.0) for part in busy}
                        cost = {**self._about, **spent, **block.size(), "compute_s": now - since}
                        cost |= {"steady_s": now - steady_since, "load": machine_load(self._own_threads)}
                        since, before, steady_since = now, busy, now
                        with self._clock.measure("write"):
                            self._write(batch.block, block.rows(), cost)
                        block = _Block(self._settings)
            except BaseException as error:  # raised by `check` in the thread that runs the model
                self._error = error
            finally:
                self._room.release()
        self._ended.set()


class _Block:
    """The rows of an incomplete block."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._methods = [method for method in POOLINGS if method in settings.pooling]
        self._rows = CacheRows(frames=[] if "frames" in settings.pooling else None)
        self._pooled: dict[str, list[np.ndarray]] = {method: [] for method in self._methods}
        self._clips, self._audio_s = 0, 0.0
        self._warm = 0, 0.0

    def size(self) -> dict[str, float]:
        """Return the number of clips and seconds of audio, also without those of the warm-up."""
        clips, audio_s = self._warm
        steady = {"steady_clips": self._clips - clips, "steady_audio_s": self._audio_s - audio_s}
        return {"clips": self._clips, "audio_s": self._audio_s, **steady}

    def end_warm_up(self) -> None:
        """Count the clips so far as warm-up."""
        self._warm = self._clips, self._audio_s

    def add(self, batch: Batch) -> None:
        """Add a batch; clips of which a value to be stored is not finite are added to its failures."""
        for part in batch.parts:
            values = {name: tensor.numpy() for name, tensor in part.arriving.wait().items()}
            flaws = [self._flaw(values, part, at) for at in range(len(part.clips))]
            finite = np.array([flaw is None for flaw in flaws], bool)
            for at, clip in enumerate(part.clips):
                if (flaw := flaws[at]) is not None:
                    batch.fail(clip, flaw)
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
            self._rows.failures.append((clip.id, _failure_key(clip) if content else "", reason))
        self._clips += batch.clips
        self._audio_s += batch.embedded_s

    def _flaw(self, values: dict[str, np.ndarray], part: Embedded, at: int) -> str | None:
        """Return why a clip cannot be stored: which of its values are not finite; None if all are finite."""
        if not np.isfinite(values["mean"][at]).all():
            return "its embedding is not finite"
        for method in self._methods:
            if not np.isfinite(values[method][at]).all():
                return f"the {method} of its frames is not finite"
        if self._rows.frames is None or self._settings.frame_dtype != "float16":  # then the mean shows it
            return None
        frames = part.frames[at] if part.frames is not None else values["frames"][at, : part.n_frames[at]]
        finite = frames.finite if isinstance(frames, FrameBuffer) else np.isfinite(frames).all()
        return None if finite else FLOAT16_OVERFLOW

    def rows(self) -> CacheRows:
        """Return all rows, ready to be written."""
        self._rows.pooled = {method: np.concatenate(values) for method, values in self._pooled.items() if values}
        return self._rows


def _failure_key(clip: PlannedClip) -> str:
    """Return the content key to record with a failure; empty if the file has changed, so that it is tried again."""
    try:
        check_unchanged(clip)
    except AudioError:
        return ""
    return clip.key
