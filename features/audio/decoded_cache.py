"""Files that can only be decoded from their start: decoded once for all their segments, and kept for a while.

libsndfile's seek in MP3 and OGG files is not exact: samples behind it were seen to differ from those of the file
decoded as a whole in their last bits, and by up to their full scale where an MP3's frames borrow bits from earlier
ones and near the end of Vorbis files.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from features.errors import AudioError

MOST_BYTES = 4 << 30  # of decoded samples kept, in temporary files: 6 h at 44.1 kHz
MOST_FILES = 128
SAMPLE_BYTES = 4
PIECE_FRAMES = 1 << 20


class SampleSource(Protocol):
    """An open audio file.

    Attributes:
        info: `features.audio.file.AudioInfo`.
    """

    info: Any

    def read(self, start: int, stop: int) -> np.ndarray:
        """Mono samples start…stop-1 at the file's rate; each call starts where the last one stopped or later."""

    def close(self) -> None:
        """Close the file."""


class DecodedFiles:
    """Mono samples of recently used files, in temporary files: memory does not grow with them. Threads may share it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Keep up to this many bytes; more only while they are in use."""
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[str, int, int], _DecodedFile] = OrderedDict()

    @contextmanager
    def opened(self, path: Path, open_source: Callable[[], SampleSource]) -> Iterator[_DecodedFile]:
        """One file, decoded as far as anybody asked for.

        Args:
            path: The file.
            open_source: Opens it at its start.
        """
        stat = path.stat()
        key = str(path), stat.st_size, stat.st_mtime_ns
        with self._lock:
            file = self._files.setdefault(key, _DecodedFile())
            self._files.move_to_end(key)
            file.users += 1
        try:
            file.begin(open_source)
            yield file
        finally:
            with self._lock:
                file.users -= 1
                self._make_room()

    def close(self) -> None:
        """Remove everything."""
        with self._lock:
            while self._files:
                self._files.popitem()[1].close()

    def __enter__(self) -> DecodedFiles:
        """Use it in a `with` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _make_room(self) -> None:
        """Let go of what was used longest ago."""
        held = sum(file.bytes for file in self._files.values())
        for key, file in list(self._files.items()):
            if held <= self._most_bytes and len(self._files) <= MOST_FILES:
                return
            if not file.users:
                held -= file.bytes
                self._files.pop(key).close()


class _DecodedFile:
    """One file; `info` and `read` as those of a `SampleSource`, but in any order."""

    def __init__(self) -> None:
        self.info: Any = None
        self.users = 0
        self._lock = threading.Lock()
        self._open_source: Callable[[], SampleSource] | None = None
        self._source: SampleSource | None = None
        self._samples: Any = None
        self._count = 0

    @property
    def bytes(self) -> int:
        return self._count * SAMPLE_BYTES

    def begin(self, open_source: Callable[[], SampleSource]) -> None:
        """Open the file where that is still to be done."""
        with self._lock:
            if self._source is None and self._samples is None:
                self._source = open_source()
                self.info, self._open_source = self._source.info, open_source

    def read(self, start: int, stop: int) -> np.ndarray:
        """Mono samples start…stop-1 at the file's rate."""
        with self._lock:
            try:
                self._decode_to(stop)
                return np.frombuffer(self._stored(start, stop), np.float32)
            except AudioError:
                self._let_go()
                raise
            except OSError:  # no room for temporary files: without them, then
                self._let_go()
                assert self._open_source is not None
                source = self._open_source()
        try:
            return source.read(start, stop)
        finally:
            source.close()

    def _decode_to(self, stop: int) -> None:
        if self._samples is None:
            self._samples = tempfile.TemporaryFile(prefix="audioheads-", buffering=0)  # noqa: SIM115 (closed below)
        while self._count < stop:
            if self._source is None:
                raise OSError("let go while it was in use")
            piece = self._source.read(self._count, min(stop, self._count + PIECE_FRAMES))
            left = piece.view(np.uint8).data
            while left:
                left = left[self._samples.write(left) :]
            self._count += len(piece)

    def _stored(self, start: int, stop: int) -> bytearray:
        wanted = bytearray((stop - start) * SAMPLE_BYTES)
        self._samples.seek(start * SAMPLE_BYTES)
        left = memoryview(wanted)
        while left:
            if not (got := self._samples.readinto(left)):
                raise OSError("a temporary file is shorter than what was written")
            left = left[got:]
        self._samples.seek(0, os.SEEK_END)
        return wanted

    def _let_go(self) -> None:
        for file in (self._source, self._samples):
            if file is not None:
                file.close()
        self._source = self._samples = None
        self._count = 0

    def close(self) -> None:
        """Remove it."""
        with self._lock:
            self._let_go()
