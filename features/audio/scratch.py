"""Temporary files for what is expensive to decode, and a limit on how much of it is kept."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class ScratchFile:
    """Bytes in a temporary file without a name, which is gone when the process ends.

    Attributes:
        size: Bytes written.
    """

    def __init__(self) -> None:
        """Create an empty file.

        Raises:
            OSError: There is no space for temporary files; also when writing.
        """
        self._file = tempfile.TemporaryFile(prefix="audioheads-", buffering=0)  # noqa: SIM115 (closed below)
        self.close = weakref.finalize(self, self._file.close)
        self.size = 0

    def append(self, data: bytes | memoryview) -> None:
        """Write bytes at the end."""
        left = memoryview(data)
        self.size += len(left)
        while left:
            left = left[self._file.write(left) :]

    def read(self, start: int, size: int) -> bytearray:
        """Return `size` bytes from a position.

        Raises:
            OSError: The file is shorter.
        """
        wanted = bytearray(size)
        self.read_into(start, wanted)
        return wanted

    def read_into(self, start: int, buffer: bytearray | memoryview) -> None:
        """Fill a buffer with the bytes from a position. Several threads may read at once.

        Raises:
            OSError: The file is shorter.
        """
        left = memoryview(buffer).cast("B")
        while left:
            if not (got := os.preadv(self._file.fileno(), [left], start)):
                raise OSError("a temporary file is shorter than expected")
            left, start = left[got:], start + got


class Kept(Protocol):
    """What `RecentlyUsed` keeps."""

    @property
    def size(self) -> int:
        """Bytes that it takes."""

    def close(self) -> None:
        """Free them."""


V = TypeVar("V", bound=Kept)


class RecentlyUsed(Generic[V]):
    """Values by key. The least recently used are closed to meet a limit, but none that is in use. Safe for threads."""

    def __init__(self, make: Callable[[], V], most_bytes: int, most: int | None = None) -> None:
        """Keep up to `most_bytes` bytes in up to `most` values, each made by `make` when it is first used."""
        self.most_bytes = most_bytes
        self._make, self._most = make, most
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._users: Counter[Hashable] = Counter()

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return sum(value.size for value in self._values.values())

    @contextmanager
    def using(self, key: Hashable) -> Iterator[V]:
        """Yield the value of a key, which stays open until the block ends."""
        with self._lock:
            if key not in self._values:
                self._values[key] = self._make()
            value = self._values[key]
            self._values.move_to_end(key)
            self._users[key] += 1
        try:
            yield value
        finally:
            with self._lock:
                self._users[key] -= 1
                self._make_room()

    def close(self) -> None:
        """Close all values."""
        with self._lock:
            while self._values:
                self._values.popitem()[1].close()

    def _make_room(self) -> None:
        size = self.size
        for key, value in list(self._values.items()):
            if size <= self.most_bytes and (self._most is None or len(self._values) <= self._most):
                return
            if not self._users[key]:
                size -= value.size
                self._values.pop(key).close()
                del self._users[key]
