"""Write shards in a separate thread, concurrent with the model: check embeddings and write complete blocks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from features.inference.block import Batch, Block
from features.inference.timing import Clock, machine_load
from features.planning.settings import Settings
from features.store.writer import CacheRows

IN_FLIGHT = 3  # batches by which writing may lag behind the model

WriteShard = Callable[[int, CacheRows, dict[str, Any]], None]
"""Writes one block. Arguments: its number, its rows, and their cost (see `EmbeddingTable.cost`)."""


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
        block = Block(self._settings)
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
                        cost = {**self._about, **spent, **block.cost(), "compute_s": now - since}
                        cost |= {"steady_s": now - steady_since, "load": machine_load(self._own_threads)}
                        since, before, steady_since = now, busy, now
                        with self._clock.measure("write"):
                            self._write(batch.block, block.rows(), cost)
                        block = Block(self._settings)
            except BaseException as error:  # raised by `check` in the thread that runs the model
                self._error = error
            finally:
                self._room.release()
        self._ended.set()
