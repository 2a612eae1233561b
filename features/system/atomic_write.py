"""Atomic file writing: write to a temporary file in the same folder, sync it, then rename it."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

SUFFIX = ".tmp"  # suffix of all temporary files
LONGEST_NAME = 230  # bytes of the file's name used in its temporary's name; file systems allow 255 in total
NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # on some shared folders

Sync = Literal["none", "file", "folder"]


@contextmanager
def atomic_write(
    path: Path, *, sync: Sync = "file", overwrite: bool = True, before: Callable[[Path], object] | None = None
) -> Iterator[Path]:
    """Write a file under a temporary name and rename it when the block ends.

    Every call uses another temporary name, so several processes and threads may write the same path at the same time;
    the last one wins. If the block raises an exception, including `KeyboardInterrupt`, the temporary file is removed
    and `path` is unchanged. The file gets the default mode of a new file in that folder, whatever mode the block sets.

    Args:
        path: The file to write. Its folder must exist.
        sync: What survives a power failure after this returns. `"file"`: the complete old or the complete new file.
            `"folder"`: the new file. `"none"`: no guarantee, for many small files that can be written again.
        overwrite: If False, raise if `path` exists at the end. On a file system without hard links the file is
            overwritten nevertheless.
        before: Called with the finished and synced temporary file; an exception prevents the renaming.

    Yields:
        The path to write to: an empty file, which the block may also replace.

    Raises:
        OSError: The folder is missing or not writable, or the disk is full.
        FileExistsError: `overwrite` is false and `path` exists.
    """
    temporary = path.with_name(f"{_prefix(path.name)}{secrets.token_hex(8)}{SUFFIX}")
    try:
        mode = _create(temporary)
        yield temporary
        if stat.S_IMODE(temporary.stat().st_mode) != mode:  # safetensors creates files that only their owner can read
            temporary.chmod(mode)
        if sync != "none":
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
        if before is not None:
            before(temporary)
        if overwrite or not _link(temporary, path):
            temporary.replace(path)
        if sync == "folder":
            sync_folder(path.parent)
    finally:
        with suppress(OSError):  # already renamed, or its folder is unavailable
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that a rename in it survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, name: str = "", *, min_age_s: float = 0.0) -> None:
    """Remove the temporary files of killed runs from a folder.

    Args:
        folder: The folder; it need not exist.
        name: Only temporary files of the file with this name; empty for all.
        min_age_s: Only files last written at least this many seconds ago. Use 0 only if no other process is writing.
    """
    prefix = _prefix(name) if name else "."
    for item in folder.iterdir() if folder.is_dir() else ():
        if item.name.startswith(prefix) and item.name.endswith(SUFFIX):
            with suppress(FileNotFoundError):
                if min_age_s <= 0 or time.time() - item.stat().st_mtime > min_age_s:
                    item.unlink()


def _prefix(name: str) -> str:
    """Return the prefix of the names of a file's temporaries."""
    return f".{os.fsencode(name)[:LONGEST_NAME].decode(errors='ignore')}."


def _create(path: Path) -> int:
    """Create an empty file and return its mode, which depends on the umask and the folder's access list."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _link(temporary: Path, path: Path) -> bool:
    """Hard-link a file to an unused name; False if the file system has no hard links."""
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return False
    return True
