"""Frames of clips as input of heads: one layer at a time, standardised by the frames of the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from features.errors import RunError
from features.labels import Task
from heads.batched.blocks import ALL_LAYERS, scales
from heads.batched.moments import RunningMoments, chunk_moments
from heads.batched.target_rows import TargetRows
from heads.batched.vector_blocks import RowBlock
from heads.splits.protocol import Split

PIECE_NUMBERS = 2**23  # values read at once, so that hours of audio fit in memory


class StoredFrames(Protocol):
    """The interface of `features.store.frames.ClipFrames`."""

    lengths: np.ndarray
    dim: int

    def read(self, clip: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return frames start…stop-1 of a clip, shape (F, L·D)."""


class ClipLayers:
    """Frames of an experiment's clips, by row and layer.

    Attributes:
        shape: (N, L, D), as of pooled features.
        layers: The backbone's index of each of the L layers.
    """

    def __init__(
        self, stored: StoredFrames, clips: np.ndarray, layers: Sequence[int], chosen: Sequence[int] | None = None
    ) -> None:
        """Map rows to stored frames.

        Args:
            stored: The stored frames, by clip.
            clips: Position of each row in `stored`, shape (N,) int; -1 for a row without frames.
            layers: The backbone's index of each stored layer.
            chosen: Positions of the layers to use; None: all.
        """
        self.stored, self.clips, self._stored_layers = stored, clips, tuple(layers)
        self._chosen = None if chosen is None else list(chosen)
        self.layers = self._stored_layers if chosen is None else tuple(layers[at] for at in chosen)
        self.shape = (len(clips), len(self.layers), stored.dim // len(layers))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.clips)

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of frames of some rows, shape (n,) int64."""
        return np.asarray(self.stored.lengths)[self.clips[rows]].astype(np.int64)

    def read(self, row: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return frames start…stop-1 of a row, shape (F, L, D), in the stored type."""
        values = self.stored.read(int(self.clips[row]), start, stop)
        values = values.reshape(-1, len(self._stored_layers), self.shape[2])
        return values if self._chosen is None else values[:, self._chosen]

    def select(self, positions: Sequence[int]) -> ClipLayers:
        """Return the same clips with some of the layers."""
        return ClipLayers(self.stored, self.clips, self.layers, positions)

    def of(self, rows: np.ndarray, layer: int) -> ClipSequence:
        """Return one layer of some rows, or `ALL_LAYERS`, read when accessed."""
        return ClipSequence(self, rows, layer)


@dataclass(frozen=True)
class ClipSequence:
    """One layer of some rows; item k is the frames of the k-th row, shape (F, D), in the stored type.

    With `ALL_LAYERS`, it is (F, L, D).
    """

    frames: ClipLayers
    rows: np.ndarray
    layer: int

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __getitem__(self, at: int) -> np.ndarray:
        """Read the frames of one row.

        Raises:
            IndexError: There is no such row.
        """
        if at >= len(self.rows):
            raise IndexError(at)
        return _layer_of(self.frames.read(self.rows[at]), self.layer)


@dataclass(frozen=True)
class FrameBlock(RowBlock):
    """The frames of one fold and layer; mean and scale are those of the training rows' frames.

    Attributes:
        frames: The frames of all rows.
        layer: Position of the block's layer, or `ALL_LAYERS`.
    """

    frames: ClipLayers
    layer: int

    def write(self, out: np.ndarray, row: int, start: int, stop: int) -> None:
        """Write standardised frames start…stop-1 of a row to `out`, (F, D) float32; (L, F, D) with all layers."""
        values, mean, scale = self.frames.read(row, start, stop), self.mean, self.scale
        if self.layer == ALL_LAYERS:
            values, mean, scale = values.swapaxes(0, 1), mean[:, None], scale[:, None]
        else:
            values = values[:, self.layer]
        np.subtract(values, mean.astype(np.float32), out=out)
        np.divide(out, scale.astype(np.float32), out=out)


class FrameSource:
    """Blocks of frames; mean and scale for all splits are computed in one pass over the clips."""

    def __init__(
        self,
        frames: ClipLayers,
        targets: np.ndarray,
        splits: Sequence[Split],
        layers: Sequence[int],
        task: Task,
        *,
        refit: bool = False,
    ) -> None:
        """Compute mean and scale for all splits and layers.

        Args:
            frames: Frames of all clips.
            targets: Targets, as for `heads.training.train.train_head`.
            splits: The splits.
            layers: Positions of the layers to use, or `ALL_LAYERS` alone.
            task: The task, which determines the form of the targets.
            refit: Also compute mean and scale of training and validation rows together, for a refit.

        Raises:
            RunError: A clip has no frames, or NaN or infinite values.
        """
        self.frames, self.targets, self.task = frames, targets, task
        sets = [split.train for split in splits]
        if refit:
            sets += [np.union1d(split.train, split.valid) for split in splits]
        used = np.unique(np.concatenate([np.concatenate([split.train, split.valid, split.test]) for split in splits]))
        together = list(layers) == [ALL_LAYERS]
        moments = _moments(frames, used, sets, list(range(frames.shape[1]) if together else layers))
        self.figures = {rows.tobytes(): figures for rows, figures in zip(sets, moments, strict=True)}
        self.column: dict[int, int | slice] = {layer: column for column, layer in enumerate(layers)}
        if together:
            self.column = {ALL_LAYERS: slice(None)}

    def block(self, split: Split, layer: int, device: torch.device) -> FrameBlock:
        """Return one split's training and validation rows of one layer, or of `ALL_LAYERS`."""
        rows = np.concatenate([split.train, split.valid])
        mean, scale = self.figures[split.train.tobytes()]
        return FrameBlock(
            train=split.train,
            valid=split.valid,
            targets=TargetRows(self.targets, rows, self.task, device, len(split.train)),
            mean=mean[self.column[layer]],
            scale=scale[self.column[layer]],
            frames=self.frames,
            layer=layer,
        )

    def rows(self, rows: np.ndarray, layer: int) -> ClipSequence:
        """Return raw frames to predict from."""
        return self.frames.of(rows, layer)


def _layer_of(values: np.ndarray, layer: int) -> np.ndarray:
    """Return one layer of frames (F, L, D), or all."""
    return values if layer == ALL_LAYERS else values[:, layer]


def _moments(
    frames: ClipLayers, used: np.ndarray, sets: Sequence[np.ndarray], layers: list[int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Compute mean and scale (P, D) float64 over the frames of each set of rows; check the `used` rows."""
    inside = np.zeros((len(frames), len(sets)), dtype=bool)
    for at, rows in enumerate(sets):
        inside[rows, at] = True
    moments = [RunningMoments((len(layers), frames.shape[2])) for _ in sets]
    dtype = np.dtype(np.float32)
    piece = max(1, PIECE_NUMBERS // (frames.shape[1] * frames.shape[2]))
    for row, length in zip(used.tolist(), frames.lengths(used).tolist(), strict=True):
        if not length:
            raise RunError(f"row {row} has no frames; leave the clip out")
        for start in range(0, length, piece):
            stored = frames.read(row, start, min(start + piece, length))[:, layers]
            values, dtype = stored.astype(np.float64), stored.dtype
            if not np.isfinite(values).all():
                raise RunError(
                    f"frames of row {row} are NaN or infinite; if they were stored as float16, extract them with "
                    "--set features.frame_dtype=float32, else leave the clip out"
                )
            chunk = chunk_moments(values)
            for at in np.flatnonzero(inside[row]).tolist():
                moments[at].add(chunk)
    return [(own.mean, scales(own.spread, own.mean, dtype)) for own in moments]
