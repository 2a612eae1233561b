"""Defer Ctrl-C while HDF5 calls into Python, where an exception would print tracebacks and leave files open."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def terminated_by_exception() -> Iterator[None]:
    """Let SIGTERM raise `SystemExit` in this block, so that temporary folders are removed."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Defer Ctrl-C until the block ends.

    Yields:
        A function that raises a deferred `KeyboardInterrupt`; call it where raising is safe.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None  # no interrupt can be raised here
        return
    pending: list[int] = []

    def check() -> None:
        if pending:
            pending.clear()
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, lambda number, frame: pending.append(number))
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
    check()
