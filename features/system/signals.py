"""Ctrl-C held back while HDF5 calls into Python: raised in there, it would print tracebacks and leave files open."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Put off Ctrl-C until the block ends.

    Yields:
        A function that raises a `KeyboardInterrupt` that has come meanwhile; to be called where that is safe.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None  # no interrupt can be raised here
        return
    come: list[int] = []

    def check() -> None:
        if come:
            come.clear()
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, lambda number, frame: come.append(number))
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
    check()
