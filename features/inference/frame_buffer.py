"""A buffer for the frames of one long clip: in memory while small, in a temporary file beyond that."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from features.errors import RunError
from features.system.atomic_write import SUFFIX

MEMORY_BYTES = 1 << 25


class FrameBuffer:
    """Collects frames in pieces and returns them in order, see `features.store.writer.LongFrames`.

    Attributes:
        finite: Whether all values so far are finite.
    """

    def __init__(self, folder: Path | None) -> None:
        """Use `folder` for the temporary file; None for the system's temporary folder."""
        where = None if folder is None else str(folder)
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, prefix=".frames-", suffix=SUFFIX, dir=where)  # noqa: SIM115
        self._folder = folder
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.float32)
        self._count = 0
        self.finite = True

    def __len__(self) -> int:
        """Number of frames added."""
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
                f"cannot write {where} ({error.strerror or error}); finished work is kept, run again to continue"
            ) from error
        self._count += len(frames)
        self.finite = self.finite and bool(np.isfinite(frames).all())

    def pieces(self, most_bytes: int) -> Iterator[np.ndarray]:
        """Yield all frames as (f, L, D) arrays of about `most_bytes` at most."""
        frame_bytes = int(np.prod(self._shape)) * self._dtype.itemsize
        step = max(1, most_bytes // frame_bytes) * frame_bytes if frame_bytes else 1
        self._file.seek(0)
        while piece := self._file.read(step):
            yield np.frombuffer(piece, self._dtype).reshape(-1, *self._shape)
        self._file.seek(0, os.SEEK_END)

    def __del__(self) -> None:
        """Remove the temporary file; the buffer is needed as long as the rows that refer to it."""
        self._file.close()
