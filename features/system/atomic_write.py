"""Files that appear whole or not at all: written to a temporary file in the same folder, synced, then renamed."""

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

SUFFIX = ".tmp"  # of all temporary files
LONGEST_NAME = 230  # bytes of a file's name that its temporary's name repeats; file systems allow 255 in all
NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # some shared folders

Sync = Literal["none", "file", "folder"]


@contextmanager
def atomic_write(
    path: Path, *, sync: Sync = "file", overwrite: bool = True, before: Callable[[Path], object] | None = None
) -> Iterator[Path]:
    """Write a file under another name and give it its own name when the block ends.

    The temporary file's name differs in every call, so processes and threads may write the same path at the same time;
    the last one wins. If the block raises anything, also `KeyboardInterrupt`, the temporary file is removed and `path`
    is left as it was. The file gets the mode of any new file in that folder, whatever mode the block gives it.

    Args:
        path: Where the whole file appears. Its folder must exist.
        sync: What survives a power cut once this returns: `"file"`: the old file or the new one, whole; `"folder"`:
            the new one; `"none"`: neither is certain, for many small files that can be made again.
        overwrite: False: raise if `path` exists at the end. A file system without hard links overwrites it all the
            same.
        before: Called with the finished and synced temporary file; what it raises prevents the renaming.

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
        if stat.S_IMODE(temporary.stat().st_mode) != mode:  # safetensors makes files that only their owner can read
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
        with suppress(OSError):  # renamed by now, or its folder went away
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, name: str = "", *, min_age_s: float = 0.0) -> None:
    """Remove the temporary files of killed runs from a folder.

    Args:
        folder: The folder; it need not exist.
        name: Only those of the file with this name; empty: all.
        min_age_s: Only those that were last written so many seconds ago. Give 0 only where nobody else is writing.
    """
    prefix = _prefix(name) if name else "."
    for item in folder.iterdir() if folder.is_dir() else ():
        if item.name.startswith(prefix) and item.name.endswith(SUFFIX):
            with suppress(FileNotFoundError):
                if min_age_s <= 0 or time.time() - item.stat().st_mtime > min_age_s:
                    item.unlink()


def _prefix(name: str) -> str:
    """How the names of a file's temporaries begin."""
    return f".{os.fsencode(name)[:LONGEST_NAME].decode(errors='ignore')}."


def _create(path: Path) -> int:
    """Make a new, empty file; its mode, which the umask and the folder's access list decide."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _link(temporary: Path, path: Path) -> bool:
    """Give a file a second name that must not be taken; False where the file system cannot."""
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return False
    return True
