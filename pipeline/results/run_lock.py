"""One lock per run folder: a command that trains or reports waits while another one writes to the same folder.

Shards of a command hold it together. Each of their fits has a lock of its own, see `pipeline.fits.shard`.
Stage 1 has the locks of the cache files and takes this lock only while it writes its few files. Readers take no lock:
they check that nothing has changed while they read, see `FitState`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from features.errors import RunError, UserError
from features.system.locks import Begin, CacheLock
from pipeline.results.run_folder import FIT_FILE

LOCK = "run"  # the lock file is `run.lock` in the folder
_held: set[Path] = set()  # folders that this process has locked


@contextmanager
def locked(folders: Iterable[Path], note: Callable[[str], None]) -> Iterator[None]:
    """Hold the locks of some folders, created if missing. A block inside another may lock the same folders again.

    Other ranks of a training on several devices take no lock: their main process holds it.

    Args:
        folders: Run folders, or folders of reports.
        note: Called with a message when another command holds a lock.

    Raises:
        RunError: A folder cannot be written.
    """
    is_main = int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) == 0
    wanted = sorted({folder.absolute(): folder for folder in folders}.items()) if is_main else []
    with ExitStack() as stack:
        for absolute, folder in wanted:
            if absolute not in _held:
                stack.enter_context(_lock(folder, note))
                stack.enter_context(_marked(absolute))
        yield


@contextmanager
def joined(folder: Path, note: Callable[[str], None], prepare: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a folder, created if missing, together with other processes that join it.

    In the block, `locked` takes this folder's lock as held.

    Args:
        folder: A run folder.
        note: Called with a message when a command that joins nobody holds the lock.
        prepare: Called first if no other process holds the lock.

    Raises:
        RunError: The folder cannot be written.
    """
    with _lock(folder, note, "join") as lock, _marked(folder.absolute()):
        if lock.is_alone:
            prepare()
            lock.shared()
        yield


@contextmanager
def _lock(folder: Path, note: Callable[[str], None], begin: Begin = "exclusive") -> Iterator[CacheLock]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {folder} ({error.strerror or error})") from error
    wait = f"waiting for another command that writes {folder}"
    with CacheLock(folder / LOCK, lambda _: note(wait), begin=begin) as lock:
        yield lock


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """Record that this process holds the lock of a folder."""
    _held.add(folder)
    try:
        yield
    finally:
        _held.discard(folder)


@dataclass(frozen=True)
class FitState:
    """The state of a trained model's folder when its `fit.json` was read.

    A training removes `fit.json` before anything else and writes it last, so weights that were read while it stayed
    the same file belong to it.
    """

    path: Path
    identity: tuple[int, int, int] | None

    @classmethod
    def of(cls, folder: Path) -> FitState:
        """Return the present state of a folder."""
        path = folder / FIT_FILE
        try:
            stat = path.stat()
        except OSError:
            return cls(path, None)
        return cls(path, (stat.st_ino, stat.st_size, stat.st_mtime_ns))

    def check(self) -> None:
        """Check that the state is still the same.

        Raises:
            UserError: The model was trained again in the meantime.
        """
        if FitState.of(self.path.parent).identity != self.identity:
            raise UserError(f"{self.path.parent}: was trained again while it was read; run the same command again")
