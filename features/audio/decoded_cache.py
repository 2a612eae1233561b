"""A cache of decoded samples for files that can only be decoded exactly from their start (MP3, OGG).

Each file is decoded once for all its segments. libsndfile's seek in MP3 and OGG files is not exact: samples after a
seek can differ from those of a full decode in their last bits. The difference can reach full scale where MP3 frames
use bits of earlier frames (the bit reservoir), and near the end of Vorbis files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from features.audio.containers import file_of
from features.audio.scratch import RecentlyUsed, ScratchFile
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
        self._files = RecentlyUsed(_DecodedFile, most_bytes, MOST_FILES)

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
        with self._files.using((str(path), stat.st_size, stat.st_mtime_ns)) as file:
            file.begin(open_source)
            yield file

    def close(self) -> None:
        """Remove all temporary files."""
        self._files.close()

    def __enter__(self) -> DecodedFiles:
        """Use it in a `with` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


class _DecodedFile:
    """One file with `info` and `read` as a `SampleSource`, but segments can be read in any order."""

    def __init__(self) -> None:
        self.info: Any = None
        self._lock = threading.Lock()
        self._open_source: Callable[[], SampleSource] | None = None
        self._source: SampleSource | None = None
        self._samples: ScratchFile | None = None

    @property
    def size(self) -> int:
        return self._samples.size if self._samples is not None else 0

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
                samples = self._decoded_to(stop)
                return np.frombuffer(samples.read(start * SAMPLE_BYTES, (stop - start) * SAMPLE_BYTES), np.float32)
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

    def _decoded_to(self, stop: int) -> ScratchFile:
        if self._samples is None:
            self._samples = ScratchFile()
        while (count := self._samples.size // SAMPLE_BYTES) < stop:
            if self._source is None:
                raise OSError("released while in use")
            self._samples.append(self._source.read(count, min(stop, count + CHUNK_FRAMES)).view(np.uint8).data)
        return self._samples

    def _let_go(self) -> None:
        for file in (self._source, self._samples):
            if file is not None:
                file.close()
        self._source = self._samples = None

    def close(self) -> None:
        """Remove the temporary file."""
        with self._lock:
            self._let_go()
