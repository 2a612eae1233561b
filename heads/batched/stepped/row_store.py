"""Standardised rows of some blocks, in memory or, if they are too large, in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from features.audio.scratch import ScratchFile
from features.errors import RunError
from heads.batched.job import Job
from heads.batched.row_slices import row_slices
from heads.batched.stepped.adamw import aligned
from heads.batched.stepped.plan import Plan
from heads.batched.vector_blocks import VectorBlock


class RowStore(Protocol):
    """Rows of all blocks, one block after another: training rows, then validation rows.

    Rows of vectors are tensors (…, D padded), or (…, L, D padded) with all layers, float32. Rows of frames are a
    `heads.batched.stepped.frame_batches.FrameBatch`.
    """

    def gather(self, rows: Tensor) -> Any:
        """Return some rows, for positions (…,) int64."""

    def read(self, start: int, stop: int) -> Any:
        """Return consecutive rows."""

    def close(self) -> None:
        """Free the rows."""


def store_rows(blocks: Sequence[VectorBlock], job: Job, plan: Plan) -> RowStore:
    """Standardise the rows of blocks and store them where the plan says.

    Raises:
        RunError: There is no space for a temporary file.
    """
    row_shape = (*blocks[0].mean.shape[:-1], aligned(job.dim))
    return (SpilledRows if plan.spilled else HeldRows)(blocks, row_shape, job.device, plan.tile_bytes)


class HeldRows:
    """Rows in the memory of a device."""

    def __init__(
        self, blocks: Sequence[VectorBlock], row_shape: tuple[int, ...], device: torch.device, tile_bytes: int
    ) -> None:
        """Read the rows of all blocks; a row is padded to `row_shape`."""
        self._rows = torch.zeros(sum(map(len, blocks)), *row_shape, device=device)
        start = 0
        for block in blocks:
            own = self._rows[start : start + len(block)]
            if device.type == "cpu":
                block.read(slice(0, len(block)), _with_layers(own.numpy()))
            else:
                for part, values in _tiles(block, row_shape, tile_bytes):
                    own[part] = torch.from_numpy(values)
            start += len(block)

    def gather(self, rows: Tensor) -> Tensor:
        """See `RowStore.gather`."""
        # index_select moves rows several times as fast as indexing does
        return self._rows.index_select(0, rows.flatten()).view(*rows.shape, *self._rows.shape[1:])

    def read(self, start: int, stop: int) -> Tensor:
        """See `RowStore.read`."""
        return self._rows[start:stop]

    def close(self) -> None:
        """Free the rows."""
        del self._rows


class SpilledRows:
    """Rows in a temporary file, from which any row is read at once. Safe for threads."""

    def __init__(
        self, blocks: Sequence[VectorBlock], row_shape: tuple[int, ...], device: torch.device, tile_bytes: int
    ) -> None:
        """Write the rows of all blocks to a file without a name; a row is padded to `row_shape`.

        Raises:
            RunError: There is no space for the file.
        """
        self._row_shape, self._device = row_shape, device
        self._row_bytes = 4 * int(np.prod(row_shape))
        n_bytes = sum(map(len, blocks)) * self._row_bytes
        try:
            self._file = ScratchFile()
            for block in blocks:
                for _, values in _tiles(block, row_shape, tile_bytes):
                    self._file.append(values.data.cast("B"))
        except OSError as error:
            raise RunError(
                f"{n_bytes / 1e9:.1f} GB of rows cannot be written to a temporary file in {tempfile.gettempdir()} "
                f"({error.strerror or error}); set TMPDIR to a folder with space, or raise heads_memory_gib"
            ) from error

    def gather(self, rows: Tensor) -> Tensor:
        """See `RowStore.gather`."""
        found = np.empty((rows.numel(), *self._row_shape), dtype=np.float32)
        for at, row in enumerate(rows.flatten().tolist()):
            self._file.read_into(row * self._row_bytes, found[at].data)
        return torch.from_numpy(found).view(*rows.shape, *self._row_shape).to(self._device)

    def read(self, start: int, stop: int) -> Tensor:
        """See `RowStore.read`."""
        found = np.empty((stop - start, *self._row_shape), dtype=np.float32)
        self._file.read_into(start * self._row_bytes, found.data)
        return torch.from_numpy(found).to(self._device)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def _tiles(block: VectorBlock, row_shape: tuple[int, ...], n_bytes: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield consecutive rows of a block: their positions and an array that is used again for the next ones."""
    size = max(1, n_bytes // (4 * int(np.prod(row_shape))))
    tile = np.zeros((min(size, len(block)), *row_shape), dtype=np.float32)
    for part in row_slices(len(block), size):
        values = tile[: part.stop - part.start]
        block.read(part, _with_layers(values))
        yield part, values


def _with_layers(rows: np.ndarray) -> np.ndarray:
    """Return rows (n, D) or (n, L, D) with the dimension of layers."""
    return rows[:, None] if rows.ndim == 2 else rows
