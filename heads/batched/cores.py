"""One thread per core, each with its own fits or rows: results do not depend on the number of threads."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Semaphore
from types import TracebackType
from typing import Self, TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from heads.batched.row_slices import row_slices

Item = TypeVar("Item")
AHEAD = 4  # results per thread that wait to be read; they may hold many rows
MOST_BYTES = 2**32  # memory of all units that are computed at once
CHUNK_BYTES = 2**23  # one float32 array with all outputs of a chunk of rows; a computation holds a few of them
MOST_ROWS, FEWEST_ROWS = 2048, 64
CHUNKS_AHEAD = 2  # chunks per thread that are computed before they are added


@contextlib.contextmanager
def one_thread() -> Iterator[int]:
    """Compute on one thread of torch and BLAS, whose number changes the last bits of products; yield the old number."""
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield cores
    finally:
        torch.set_num_threads(cores)


def on_cores(
    units: Sequence[Callable[[], Iterable[Item]]], cores: int, device: torch.device, bytes_each: int = 1
) -> Iterator[Item]:
    """Compute independent units, each on one thread; yield their results in no particular order.

    Args:
        units: Functions that return results.
        cores: Number of threads to use.
        device: Device of the units. On a device other than the CPU they are computed one after another.
        bytes_each: Memory of one unit, which limits the number of threads.
    """
    if device.type != "cpu":
        for unit in units:
            yield from unit()
        return
    waiting = deque(units)

    def work(stop: Event) -> Iterator[Item]:
        while not stop.is_set():
            try:
                unit = waiting.popleft()  # several threads take from it
            except IndexError:
                return
            yield from unit()

    yield from on_threads(max(1, min(cores, len(units), MOST_BYTES // bytes_each)), work)


def on_threads(n_threads: int, work: Callable[[Event], Iterator[Item]]) -> Iterator[Item]:
    """Run `work` in several threads with one core each and yield all results.

    Args:
        n_threads: Number of threads.
        work: Called once in each thread, with an event that asks it to end.
    """
    stop, room = Event(), Semaphore(AHEAD * n_threads)
    found = SimpleQueue[tuple[Item] | BaseException | None]()

    def run() -> None:
        torch.set_num_threads(1)
        try:
            for item in work(stop):
                while not room.acquire(timeout=0.1):
                    if stop.is_set():
                        return
                found.put((item,))
            found.put(None)
        except BaseException as error:
            found.put(error)

    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="fits")
    try:
        active = n_threads
        for _ in range(n_threads):
            pool.submit(run)
        while active:
            outcome = found.get()
            if isinstance(outcome, BaseException):
                raise outcome
            if outcome is None:
                active -= 1
            else:
                room.release()
                yield outcome[0]
    finally:
        stop.set()
        pool.shutdown()
        torch.set_num_threads(cores)  # torch keeps the last number that any thread set


def chunk_rows(n_outputs: int) -> int:
    """Return the number of rows of a chunk, which does not depend on the number of threads."""
    return max(FEWEST_ROWS, min(MOST_ROWS, CHUNK_BYTES // (4 * n_outputs)))


class RowChunks:
    """The chunks of n rows, and the threads that compute on them. Use it as a context manager.

    Results are added in the order of the chunks, so that their bits do not depend on the number of threads.
    """

    def __init__(self, n_rows: int, size: int, n_threads: int = 1) -> None:
        """Divide the rows.

        Args:
            n_rows: Number of rows.
            size: Rows of a chunk; the last one may have fewer.
            n_threads: Number of threads, each of which computes one chunk at a time on one core.
        """
        self.slices = list(row_slices(n_rows, size))
        self._n_threads = max(1, min(n_threads, len(self.slices)))
        self._pool = (
            ThreadPoolExecutor(self._n_threads, "rows", initializer=torch.set_num_threads, initargs=(1,))
            if self._n_threads > 1
            else None
        )

    def __enter__(self) -> Self:
        """Return the chunks."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the threads. After an error or an interrupt, chunks that have not started are left out."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[int, slice], tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
        """Yield the results of `work(number, rows)` for every chunk, in order."""
        if self._pool is None:
            yield from (work(number, rows) for number, rows in enumerate(self.slices))
            return
        running: deque[Future[tuple[Tensor, ...]]] = deque()
        for number, rows in enumerate(self.slices):
            running.append(self._pool.submit(work, number, rows))
            if len(running) >= CHUNKS_AHEAD * self._n_threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()

    def sum(self, work: Callable[[int, slice], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Add the results of `work(number, rows)` over all chunks, in order and in float64."""
        parts = self.map(work)
        totals = [part.double() for part in next(parts)]
        for results in parts:
            for total, part in zip(totals, results, strict=True):
                total += part
        return tuple(totals)
