"""Indexes of recently used containers, which are made once per state of a container."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sized
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T", bound=Sized)
MOST_ENTRIES = 1 << 21  # members of all indexes that are kept: about 300 MB


class KeptIndexes(Generic[T]):
    """Indexes by container; a changed container is read again. Safe to share between threads."""

    def __init__(self, make: Callable[..., T], most_entries: int = MOST_ENTRIES) -> None:
        """Keep what `make(container, *more)` returns; the least recently used indexes are dropped first."""
        self._make = make
        self._most_entries = most_entries
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, container: Path, *more: Hashable) -> T:
        """Return the index of a container.

        Raises:
            OSError: The container cannot be read.
        """
        stat = container.stat()
        key = (str(container), stat.st_size, stat.st_mtime_ns, *more)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._make(container, *more)
                entries = sum(map(len, self._kept.values()))
                while entries > self._most_entries and len(self._kept) > 1:
                    entries -= len(self._kept.popitem(last=False)[1])
            self._kept.move_to_end(key)
            return self._kept[key]
