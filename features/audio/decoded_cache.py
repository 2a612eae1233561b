"""A cache of decoded samples for files that can only be decoded exactly from their start (MP3, OGG).

Each file is decoded once for all its segments. libsndfile's seek in MP3 and OGG files is not exact: samples after a
seek can differ from those of a full decode in their last bits. The difference can reach full scale where MP3 frames
use bits of earlier frames (the bit reservoir), and near the end of Vorbis files.
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

from features.audio.containers import file_of
from features.errors import AudioError

MOST_BYTES = 4 << 30  # decoded samples kept in temporary files: about 6 h at 44.1 kHz
MOST_FILES = 128
SAMPLE_BYTES = 4
CHUNK_FRAMES = 1 << 20


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
    """Mono samples of recently used files, kept in temporary files instead of memory. Safe to share between threads."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Keep up to `most_bytes` bytes; files in use are kept even above this limit."""
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[str, int, int], _DecodedFile] = OrderedDict()

    @contextmanager
    def opened(self, path: Path, open_source: Callable[[], SampleSource]) -> Iterator[_DecodedFile]:
        """Yield one file, decoded as far as any caller has read it.

        Args:
            path: The file.
            open_source: Opens the file at its start.

        Raises:
            AudioError: The file cannot be decoded.
            OSError: The file does not exist.
        """
        stat = file_of(path).stat()
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
        """Remove all temporary files."""
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
        """Remove the least recently used files until the limits are met."""
        held = sum(file.bytes for file in self._files.values())
        for key, file in list(self._files.items()):
            if held <= self._most_bytes and len(self._files) <= MOST_FILES:
                return
            if not file.users:
                held -= file.bytes
                self._files.pop(key).close()


class _DecodedFile:
    """One file with `info` and `read` as a `SampleSource`, but segments can be read in any order."""

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
        """Open the file if it is not open yet."""
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
            except OSError:  # no space for temporary files: decode without them
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
                raise OSError("released while in use")
            chunk = self._source.read(self._count, min(stop, self._count + CHUNK_FRAMES))
            left = chunk.view(np.uint8).data
            while left:
                left = left[self._samples.write(left) :]
            self._count += len(chunk)

    def _stored(self, start: int, stop: int) -> bytearray:
        wanted = bytearray((stop - start) * SAMPLE_BYTES)
        self._samples.seek(start * SAMPLE_BYTES)
        left = memoryview(wanted)
        while left:
            if not (got := self._samples.readinto(left)):
                raise OSError("a temporary file is shorter than expected")
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
        """Remove the temporary file."""
        with self._lock:
            self._let_go()
