"""One lock per cache file: shared for workers of a plan, exclusive while planning and sealing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from features.errors import RunError

try:
    import fcntl
except ImportError:  # not a POSIX system: one run at a time is then the user's care
    fcntl = None  # type: ignore[assignment]


class CacheLock:
    """An advisory lock on `<cache file>.lock`, held from `with` to its end; the system frees it on a kill.

    Attributes:
        path: The file that is locked.
        is_alone: Whether it was taken exclusively last.
    """

    def __init__(self, cache_file: Path, on_wait: Callable[[str], None], *, join: bool = False) -> None:
        """Lock for `cache_file`.

        Args:
            cache_file: The file, which need not be there.
            on_wait: Told when another run holds the lock.
            join: Begin by `join`, not by `exclusive`.
        """
        self.path = cache_file.with_name(f"{cache_file.name}.lock")
        self.is_alone = False
        self._on_wait = on_wait
        self._begin = self.join if join else self.exclusive
        self._descriptor = -1

    def __enter__(self) -> CacheLock:
        """Take it, waiting for another run if need be."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(
                f"cannot write {self.path.parent} ({error.strerror}); "
                "make it a writable folder, or choose another with --set output.cache=FOLDER"
            ) from error
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        os.close(self._descriptor)

    def exclusive(self) -> None:
        """Be alone: to plan or to seal."""
        self._take("LOCK_EX")

    def shared(self) -> None:
        """Be one of the workers of a plan."""
        self._take("LOCK_SH")

    def join(self) -> None:
        """Be alone where nobody else is at work, else one of the workers of a plan."""
        if not self.alone():
            self.shared()

    def alone(self) -> bool:
        """Whether no other run holds it; if so it is held exclusively now, else not at all."""
        self.is_alone = True
        if fcntl is not None:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.is_alone = False
        return self.is_alone

    def _take(self, mode: str) -> None:
        self.is_alone = mode == "LOCK_EX"
        if fcntl is None:
            return
        flag = getattr(fcntl, mode)
        try:
            fcntl.flock(self._descriptor, flag | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise RunError(f"cannot lock {self.path} ({error.strerror})") from error
            self._on_wait(f"waiting for another run on {self.path.with_suffix('')}")
            fcntl.flock(self._descriptor, flag)
