"""A folder that goes away for a while, as one on a network does: waited for, not taken for deleted."""

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
    """Does work again when the folder it needs has gone away and come back. Threads may share it."""

    def __init__(self, note: Callable[[str], None]) -> None:
        """`note` is told once each time a folder is waited for."""
        self._note = note
        self._lock = threading.Lock()
        self._awaited: set[Path] = set()

    def __call__(self, work: Callable[[], T], away: Callable[[], Path | None]) -> T:
        """What `work` returns or raises while all it needs is there.

        Args:
            work: To be done; may be done again from its start.
            away: Tells which folder is away, None if none is.

        Raises:
            RunError: The folder did not come back in `GIVE_UP_AFTER_S`.
        """
        while True:
            self._wait(away)
            try:
                return work()
            except (AudioheadsError, OSError):
                if away() is None:
                    raise

    def _wait(self, away: Callable[[], Path | None]) -> None:
        if (folder := away()) is None:
            return
        with self._lock:
            is_first = folder not in self._awaited
            self._awaited.add(folder)
        if is_first:
            self._note(f"{folder} went away; waiting up to {GIVE_UP_AFTER_S:.0f} s for it to come back")
        deadline = time.monotonic() + GIVE_UP_AFTER_S
        while away() is not None:
            if time.monotonic() > deadline:
                raise RunError(f"{folder} went away and did not come back; what was finished is kept, run again then")
            time.sleep(RETRY_EVERY_S)
        with self._lock:
            self._awaited.discard(folder)


def unavailable_folder(file: Path) -> Path | None:
    """The folder of a file that has to be there, if it looks as if a whole tree of files went away, not just the file.

    That is where the folder is missing, or the system answers for it as for a lost connection.
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
    """The folder of a cache, if it went away with the lock that every run leaves there."""
    lock = parts.with_name(f"{parts.stem}.h5.lock")
    try:
        lock.stat()
    except OSError:
        return parts.parent
    return None
