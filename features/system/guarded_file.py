"""A file object for HDF5 that hides write errors from it: on a full disk HDF5 prints pages and crashes at exit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class GuardedFile(io.RawIOBase):
    """The file object that h5py writes to. Errors are raised by `check`, not by `write`.

    Attributes:
        error: The first error, or None.
    """

    def __init__(self, path: Path) -> None:
        """Create the file; an existing one is overwritten."""
        self._file = path.open("w+b", buffering=0)
        self._end = 0
        self.error: OSError | None = None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def check(self) -> None:
        """Raise the first error since the file was created.

        Raises:
            OSError: A write failed, for instance because the disk is full.
        """
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        """Write all of `data` at the current position; after an error, only move the position."""
        view = memoryview(data).cast("B")
        written = 0
        try:
            while self.error is None and written < len(view):
                written += self._file.write(view[written:])
        except OSError as error:
            self.error = error
        if self.error is not None:
            self._file.seek(len(view) - written, 1)
        self._end = max(self._end, self._file.tell())
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """Read written bytes back; bytes whose writing failed are read as zeros."""
        view = memoryview(buffer).cast("B")
        held = self._file.readinto(view)
        view[held:] = bytes(len(view) - held)
        self._file.seek(len(view) - held, 1)
        return len(view)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position; the end of the file is where it would be without errors."""
        return self._file.seek(self._end + offset) if whence == 2 else self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the current position."""
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        size = self.tell() if size is None else size
        self._end = size
        try:
            if self.error is None:
                self._file.truncate(size)
        except OSError as error:
            self.error = error
        return size

    def flush(self) -> None:
        """Do nothing: the file is unbuffered."""
