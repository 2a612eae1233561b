"""Frames of one long clip on their way to its shard: in memory while few, in a temporary file beyond."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from features.errors import RunError
from features.system.atomic_write import SUFFIX

MEMORY_BYTES = 1 << 25


class FrameSpool:
    """Takes frames in pieces and gives them out again in pieces, in order; see `features.store.writer.LongFrames`."""

    def __init__(self, folder: Path | None) -> None:
        """Write to `folder` what does not stay in memory; None: where the system keeps temporary files."""
        where = None if folder is None else str(folder)
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, prefix=".frames-", suffix=SUFFIX, dir=where)  # noqa: SIM115
        self._folder = folder
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.float32)
        self._count = 0

    def __len__(self) -> int:
        """Frames added."""
        return self._count

    def add(self, frames: np.ndarray) -> None:
        """Add (F, L, D) frames.

        Raises:
            RunError: The disk is full.
        """
        self._shape, self._dtype = frames.shape[1:], frames.dtype
        try:
            self._file.write(np.ascontiguousarray(frames).data)
            self._file.flush()
        except OSError as error:
            where = self._folder or tempfile.gettempdir()
            raise RunError(
                f"cannot write {where} ({error.strerror or error}); what was finished before is kept, "
                "run again to go on"
            ) from error
        self._count += len(frames)

    def pieces(self, most_bytes: int) -> Iterator[np.ndarray]:
        """All frames as (f, L, D) arrays."""
        frame_bytes = int(np.prod(self._shape)) * self._dtype.itemsize
        step = max(1, most_bytes // frame_bytes) * frame_bytes if frame_bytes else 1
        self._file.seek(0)
        while piece := self._file.read(step):
            yield np.frombuffer(piece, self._dtype).reshape(-1, *self._shape)
        self._file.seek(0, os.SEEK_END)

    def __del__(self) -> None:
        """Remove the file: nobody but the rows it is one of knows when it is no longer needed."""
        self._file.close()
