"""Advisory locks between processes, also on different machines, which end with the process that holds them.

A cache file has one lock: shared for the workers of a plan, exclusive while planning and finalizing. A fit of stage 2
has one that is claimed without waiting.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal

from features.errors import RunError

try:
    import fcntl
except ImportError:  # not a POSIX system: users must avoid concurrent runs themselves
    fcntl = None  # type: ignore[assignment]


TAKEN = (errno.EAGAIN, errno.EACCES)  # another process holds the lock
Begin = Literal["exclusive", "join", "alone"]
NO_LOCKS = "AUDIOHEADS_NO_LOCKS"  # environment variable: run without locks, one run at a time


class CacheLock:
    """An advisory lock on `<cache file>.lock`, held in a `with` block; the system releases it if the process dies.

    Attributes:
        path: The locked file.
        is_alone: Whether the lock is exclusive.
    """

    def __init__(self, cache_file: Path, on_wait: Callable[[str], None], *, begin: Begin = "exclusive") -> None:
        """Create the lock for `cache_file`.

        Args:
            cache_file: The file, which need not exist.
            on_wait: Called with a message when another run holds the lock.
            begin: The method that acquires the lock on entry.
        """
        self.path = cache_file.with_name(f"{cache_file.name}.lock")
        self.is_alone = False
        self._on_wait = on_wait
        self._begin = begin
        self._descriptor = -1

    def __enter__(self) -> CacheLock:
        """Acquire the lock; wait if another run holds it.

        Raises:
            RunError: The lock file cannot be created or locked.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(
                f"cannot write {self.path.parent} ({error.strerror}); "
                "make it a writable folder, or choose another with --set output.cache=FOLDER"
            ) from error
        getattr(self, self._begin)()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        os.close(self._descriptor)

    def exclusive(self) -> None:
        """Acquire the lock exclusively, to plan or finalize."""
        self._take("LOCK_EX")

    def shared(self) -> None:
        """Acquire the lock shared, as one of the workers of a plan."""
        self._take("LOCK_SH")

    def join(self) -> None:
        """Acquire the lock exclusively if it is free, else shared."""
        if not self.alone():
            self.shared()

    def alone(self) -> bool:
        """Try to acquire the lock exclusively without waiting; on failure it is not held at all."""
        self.is_alone = True
        if _locking():
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in TAKEN:
                    raise RunError(_without_locks(self.path, error)) from error
                self.is_alone = False
        return self.is_alone

    def _take(self, mode: str) -> None:
        self.is_alone = mode == "LOCK_EX"
        if not _locking():
            return
        flag = getattr(fcntl, mode)
        try:
            fcntl.flock(self._descriptor, flag | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in TAKEN:
                raise RunError(_without_locks(self.path, error)) from error
            self._on_wait(f"waiting for another run on {self.path.with_suffix('')}")
            fcntl.flock(self._descriptor, flag)


@contextmanager
def claim(file: Path) -> Iterator[bool]:
    """Try to hold the exclusive lock of a file in a `with` block, without waiting.

    Args:
        file: The file, which need not exist.

    Yields:
        Whether the lock is held; False: another process holds it.

    Raises:
        RunError: The lock file cannot be created or locked.
    """
    with CacheLock(file, lambda message: None, begin="alone") as lock:
        yield lock.is_alone


def _locking() -> bool:
    """Return whether locks are taken."""
    return fcntl is not None and os.environ.get(NO_LOCKS, "") in ("", "0")


def _without_locks(path: Path, error: OSError) -> str:
    """Describe a folder whose file system refuses locks, and what to do."""
    return (
        f"cannot lock {path} ({error.strerror}): this folder's file system has no locks; choose a folder on another "
        f"one (--set output.cache=FOLDER), or set {NO_LOCKS}=1 and start only one run at a time on this folder"
    )
