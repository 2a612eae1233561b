"""A file as libsndfile should see it: parts of a file on disk, with corrected header fields."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from features.audio.openable import Openable


class SplicedFile(io.RawIOBase):
    """A readable, seekable file made of byte strings and of ranges of a file on disk."""

    def __init__(self, path: Openable, parts: Sequence[bytes | tuple[int, int]]) -> None:
        """Open the file on disk.

        Args:
            path: The file on disk, or a member of a container.
            parts: Byte strings, or ranges [start, stop) of the file.

        Raises:
            OSError: The file cannot be opened.
        """
        self._parts = [part for part in parts if (len(part) if isinstance(part, bytes) else part[1] - part[0])]
        lengths = (len(part) if isinstance(part, bytes) else part[1] - part[0] for part in self._parts)
        self._starts = list(accumulate(lengths, initial=0))
        self._file = path.open("rb", buffering=0)
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the file reaches and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._at < self._starts[-1]:
            number = bisect_right(self._starts, self._at) - 1
            within = self._at - self._starts[number]
            wanted = min(len(view) - filled, self._starts[number + 1] - self._at)
            part = self._parts[number]
            if isinstance(part, bytes):
                got = part[within : within + wanted]
            else:
                self._file.seek(part[0] + within)
                got = self._file.read(wanted)
            if not got:
                break
            view[filled : filled + len(got)] = got
            filled += len(got)
            self._at += len(got)
        return filled

    def close(self) -> None:
        """Close the file on disk."""
        self._file.close()
        super().close()


def edited(size: int, edits: Sequence[tuple[int, bytes]]) -> list[bytes | tuple[int, int]]:
    """Return the parts of a file of `size` bytes in which some bytes are replaced.

    Args:
        size: Size of the file.
        edits: (position, new bytes).
    """
    parts: list[bytes | tuple[int, int]] = []
    at = 0
    for position, new in sorted(edits):
        parts += [(at, position), new]
        at = position + len(new)
    return [*parts, (at, size)]
