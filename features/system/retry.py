"""Retry work while a network folder is unavailable."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from features.errors import AudioheadsError, RunError

GIVE_UP_AFTER_S = 600.0
RETRY_EVERY_S = 1.0
T = TypeVar("T")


class Retry:
    """Repeats work that failed while the folder it needs was unavailable. Threads may share an instance."""

    def __init__(self, note: Callable[[str], None]) -> None:
        """Create a retry; `note` is called once with a message each time a folder becomes unavailable."""
        self._note = note
        self._lock = threading.Lock()
        self._awaited: set[Path] = set()

    def __call__(self, work: Callable[[], T], unavailable: Callable[[], Path | None]) -> T:
        """Call `work` and return its result; repeat it if it fails while a folder is unavailable.

        Args:
            work: The work, which may be repeated from its start.
            unavailable: Returns the folder that is unavailable, None if there is none.

        Raises:
            RunError: The folder was unavailable for `GIVE_UP_AFTER_S`.
        """
        while True:
            self._wait(unavailable)
            try:
                return work()
            except (AudioheadsError, OSError):
                if unavailable() is None:
                    raise

    def _wait(self, unavailable: Callable[[], Path | None]) -> None:
        if (folder := unavailable()) is None:
            return
        with self._lock:
            is_first = folder not in self._awaited
            self._awaited.add(folder)
        if is_first:
            self._note(f"{folder} is unavailable; waiting up to {GIVE_UP_AFTER_S:.0f} s for it")
        deadline = time.monotonic() + GIVE_UP_AFTER_S
        while unavailable() is not None:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{folder} is still unavailable after {GIVE_UP_AFTER_S:g} s; finished work is kept, "
                    "run again when it is back"
                )
            time.sleep(RETRY_EVERY_S)
        with self._lock:
            self._awaited.discard(folder)


def unavailable_folder(file: Path) -> Path | None:
    """Return the folder of a required file if the folder is unavailable, not just the file missing; else None.

    A folder is unavailable if it does not exist, or if the system reports a lost connection for it.
    """
    try:
        file.stat()
    except FileNotFoundError:
        return None if file.parent.is_dir() else file.parent
    except OSError as error:
        gone = (errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENODEV)
        return file.parent if error.errno in gone else None
    return None


def unavailable_cache(parts: Path) -> Path | None:
    """Return the folder of a cache if it is unavailable, else None; every run leaves a lock file there."""
    lock = parts.with_name(f"{parts.stem}.h5.lock")
    try:
        lock.stat()
    except OSError:
        return parts.parent
    return None
