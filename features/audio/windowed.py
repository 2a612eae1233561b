"""Random access to the bytes of a file, of which a window is in memory.

A memory map would end the process if the file is cut or its disk fails while it is read.
"""

from __future__ import annotations

import io

from features.audio.openable import Openable

WINDOW_BYTES = 1 << 18


class WindowedBytes:
    """The bytes of an open file; use it in a `with` block."""

    def __init__(self, path: Openable) -> None:
        """Open the file.

        Raises:
            OSError: It cannot be opened. Reading can raise it, too.
        """
        self._file = path.open("rb", buffering=0)
        self.size = self._file.seek(0, io.SEEK_END)
        self._start, self._window = 0, b""

    def __enter__(self) -> WindowedBytes:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._file.close()

    def read(self, start: int, n_bytes: int) -> bytes:
        """Return bytes start…start+n_bytes-1; fewer at the end of the file."""
        within = start - self._start
        if within < 0 or within + n_bytes > len(self._window):
            self._file.seek(start)
            self._start, within = start, 0
            self._window = self._file.read(max(WINDOW_BYTES, n_bytes)) or b""
        return self._window[within : within + n_bytes]

    def find(self, pattern: bytes, start: int) -> int:
        """Return the first position of `pattern` at or after `start`; -1 if there is none."""
        while start < self.size:
            window = self.read(start, WINDOW_BYTES)
            if (at := window.find(pattern)) >= 0:
                return start + at
            start += max(1, len(window) - len(pattern) + 1)
        return -1
