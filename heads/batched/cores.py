"""One thread per core, each with its own fits: results do not depend on the number of threads."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Semaphore
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
AHEAD = 4  # results per thread that wait to be read; they may hold many rows
MOST_BYTES = 2**32  # memory of all units that are computed at once


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
