"""Marks of the audio files that a process is decoding, so that the next run knows which ones ended it.

A crash inside a codec ends the process. Each process therefore keeps one small file, `.decoding-…`, in the dataset's
cache folder. It has one slot per decoding thread with the digest of the file that is being decoded, written without
syncing: what a process has written outlives it. The process holds a lock on its file, which the system releases when
it dies. A mark in an unlocked file is an attempt that did not come back, and such a file is decoded in a process of
its own, see `features.audio.isolated`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from features.errors import AudioError, DecoderCrashError

try:
    import fcntl
except ImportError:  # not a POSIX system: no file is isolated
    fcntl = None  # type: ignore[assignment]

PREFIX = ".decoding-"
SLOT_BYTES = 32
SLOTS = 128  # written at the start, so that a full disk does not prevent marks
EMPTY = bytes(SLOT_BYTES)


class Attempts:
    """The marks of this process, and those that dead processes left in the same folder. Threads may share it."""

    def __init__(self, folder: Path | None, *, mark: bool = True) -> None:
        """Read the marks of dead processes.

        Args:
            folder: The folder of the marks; None: nothing is marked and nothing is known.
            mark: Whether to mark the attempts of this process. The folder is created if it is missing.
        """
        self._left: dict[bytes, list[tuple[Path, int]]] = {}
        self._path: Path | None = None
        self._descriptor = -1
        self._free: deque[int] = deque(range(SLOTS))
        if folder is None or fcntl is None:
            return
        with suppress(OSError):  # a folder that cannot be read or written is reported by whoever needs it
            if mark:
                folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob(f"{PREFIX}*"):
                with suppress(OSError):  # removed meanwhile
                    self._read(path)
            if mark:
                self._create(folder)

    @contextmanager
    def attempt(self, name: str) -> Iterator[bool]:
        """Mark a file while the block decodes it.

        Args:
            name: Identifies the file with its content.

        Yields:
            Whether an earlier attempt did not come back. The mark of that attempt is removed when the block comes
            back, unless with a `DecoderCrashError`.
        """
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        if digest in self._left:
            try:
                yield True
            except AudioError as error:
                if not isinstance(error, DecoderCrashError):
                    self._forget(digest)
                raise
            self._forget(digest)
            return
        slot = self._take(digest)
        try:
            yield False
        finally:
            self._release(slot)

    def __enter__(self) -> Attempts:
        """Use it in a `with` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the marks of this process."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._path = None

    def _take(self, digest: bytes) -> int | None:
        try:
            slot = self._free.popleft()
        except IndexError:  # more threads than slots: the others stay unmarked
            return None
        self._write(slot, digest)
        return slot

    def _release(self, slot: int | None) -> None:
        if slot is not None:
            self._write(slot, EMPTY)
            self._free.append(slot)

    def _write(self, slot: int, digest: bytes) -> None:
        if self._path is not None:
            with suppress(OSError):
                os.pwrite(self._descriptor, digest, slot * SLOT_BYTES)

    def _create(self, folder: Path) -> None:
        """Create this process's file; it gets its final name only when it is locked."""
        path = folder / f"{PREFIX}{secrets.token_hex(8)}"
        new = path.with_name(f"{path.name.replace(PREFIX, '.new-decoding-')}.tmp")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(descriptor, EMPTY * SLOTS, 0)
            new.replace(path)
        except BaseException:
            os.close(descriptor)
            with suppress(OSError):
                new.unlink()
            raise
        self._path, self._descriptor = path, descriptor

    def _read(self, path: Path) -> None:
        """Read the marks of a process that is dead; a file without marks is removed."""
        with contextlib.ExitStack() as stack:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:  # it is alive, or the folder has no locks
                return
            content = os.pread(descriptor, SLOT_BYTES * SLOTS, 0)
        marks = [content[at : at + SLOT_BYTES] for at in range(0, len(content), SLOT_BYTES)]
        if not any(map(any, marks)):
            path.unlink(missing_ok=True)
        for slot, digest in enumerate(marks):
            if any(digest):
                self._left.setdefault(digest, []).append((path, slot))

    def _forget(self, digest: bytes) -> None:
        """Remove the marks of an attempt that has come back now."""
        for path, slot in self._left.pop(digest, []):
            with suppress(OSError), path.open("r+b", buffering=0) as file:
                file.seek(slot * SLOT_BYTES)
                file.write(EMPTY)
                file.seek(0)
                if not any(file.read(SLOT_BYTES * SLOTS)):
                    path.unlink(missing_ok=True)
