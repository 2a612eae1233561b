"""Frames of clips as heads read them: one layer at a time, standardised by the training rows' frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from features.errors import RunError
from features.labels import Task
from heads.batched.blocks import standardize
from heads.splits.protocol import Split

PIECE_NUMBERS = 2**23  # of stored frames taken at once, so that hours of audio fit


class StoredFrames(Protocol):
    """What `features.store.frames.ClipFrames` has."""

    lengths: np.ndarray
    dim: int

    def read(self, clip: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames start…stop-1 of a clip, shape (F, L·D)."""


class ClipLayers:
    """Frames of an experiment's clips, row by row and layer by layer.

    Attributes:
        shape: (N, L, D), as features that are pooled have it.
        layers: The backbone's index of each of the L layers.
    """

    def __init__(self, stored: StoredFrames, clips: np.ndarray, layers: Sequence[int]) -> None:
        """Say where each row's frames are.

        Args:
            stored: Frames clip by clip.
            clips: Position there of each row, shape (N,) int; -1 for a row without frames.
            layers: The backbone's index of each layer.
        """
        self.stored, self.clips, self.layers = stored, clips, tuple(layers)
        self.shape = (len(clips), len(self.layers), stored.dim // len(self.layers))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.clips)

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Frames of some rows, shape (n,) int64."""
        return np.asarray(self.stored.lengths)[self.clips[rows]].astype(np.int64)

    def read(self, row: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames start…stop-1 of a row, shape (F, L, D) as stored."""
        return self.stored.read(int(self.clips[row]), start, stop).reshape(-1, *self.shape[1:])

    def of(self, rows: np.ndarray, layer: int) -> ClipSequence:
        """One layer of some rows, read when asked for."""
        return ClipSequence(self, rows, layer)


@dataclass(frozen=True)
class ClipSequence:
    """One layer of some rows: item k is a row's frames, shape (F, D) as stored."""

    frames: ClipLayers
    rows: np.ndarray
    layer: int

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __getitem__(self, at: int) -> np.ndarray:
        """Read one."""
        if at >= len(self.rows):
            raise IndexError(at)
        return self.frames.read(self.rows[at])[:, self.layer]


@dataclass(frozen=True)
class FrameBlock:
    """The frames of one place; test rows are not in it. Targets and figures are as in `heads.batched.blocks.Block`.

    Attributes:
        frames: Where all rows' frames are.
        layer: Position of the block's layer.
        train: Training rows, shape (n,).
        valid: Validation rows, shape (v,).
        mean: Of the training rows' frames, shape (D,) float64.
        scale: Their standard deviation; 1 for constant columns.
    """

    frames: ClipLayers
    layer: int
    train: np.ndarray
    train_targets: Tensor
    valid: np.ndarray
    valid_targets: Tensor
    mean: np.ndarray
    scale: np.ndarray
    target_mean: float
    target_scale: float

    def read(self, row: int, start: int, stop: int) -> np.ndarray:
        """Standardised frames of a row, shape (F, D) float32."""
        values = self.frames.read(row, start, stop)[:, self.layer].astype(np.float32)
        values -= self.mean.astype(np.float32)
        values /= self.scale.astype(np.float32)
        return values


class FrameSource:
    """Blocks of frames: the figures of all splits' training rows come from one pass over the clips."""

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
        """Pass over the frames once.

        Args:
            frames: Of all clips.
            targets: As for `heads.training.train.train_head`.
            splits: Whose training rows standardise.
            layers: Positions of the layers that are wanted.
            task: What the targets are.
            refit: Training and validation rows together standardise, too.

        Raises:
            RunError: A clip without frames, NaN or infinite values.
        """
        self.frames, self.targets, self.task = frames, targets, task
        sets = [split.train for split in splits]
        if refit:
            sets += [np.union1d(split.train, split.valid) for split in splits]
        used = np.unique(np.concatenate([np.concatenate([split.train, split.valid, split.test]) for split in splits]))
        moments = _moments(frames, used, sets, list(layers))
        self.figures = {rows.tobytes(): figures for rows, figures in zip(sets, moments, strict=True)}
        self.column = {layer: column for column, layer in enumerate(layers)}

    def block(self, split: Split, layer: int, device: torch.device) -> FrameBlock:
        """One split's training and validation rows of one layer."""
        answers = standardize(np.zeros((len(self.targets), 1, 1)), self.targets, split, 0, device, self.task)
        mean, scale = self.figures[split.train.tobytes()]
        return FrameBlock(
            self.frames,
            layer,
            split.train,
            answers.train_targets,
            split.valid,
            answers.valid_targets,
            mean[self.column[layer]],
            scale[self.column[layer]],
            answers.target_mean,
            answers.target_scale,
        )

    def rows(self, rows: np.ndarray, layer: int) -> ClipSequence:
        """Raw frames to predict from."""
        return self.frames.of(rows, layer)


def _moments(
    frames: ClipLayers, used: np.ndarray, sets: Sequence[np.ndarray], layers: list[int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and scale over the frames of each set of rows, (P, D) float64 each; `used` rows are checked."""
    inside = np.zeros((len(frames), len(sets)), dtype=bool)
    for at, rows in enumerate(sets):
        inside[rows, at] = True
    shape = (len(sets), len(layers), frames.shape[2])
    count, mean, scatter = np.zeros(len(sets)), np.zeros(shape), np.zeros(shape)
    piece = max(1, PIECE_NUMBERS // (frames.shape[1] * frames.shape[2]))
    for row, length in zip(used.tolist(), frames.lengths(used).tolist(), strict=True):
        if not length:
            raise RunError(f"row {row} has no frames; leave the clip out")
        for start in range(0, length, piece):
            values = frames.read(row, start, min(start + piece, length))[:, layers].astype(np.float64)
            if not np.isfinite(values).all():
                raise RunError(f"frames of row {row} are NaN or infinite; extract them again or leave the clip out")
            own = values.mean(axis=0)
            values -= own
            own_scatter = np.einsum("fld,fld->ld", values, values)
            for at in np.flatnonzero(inside[row]).tolist():
                total = count[at] + len(values)
                away = own - mean[at]
                mean[at] += away * (len(values) / total)
                scatter[at] += own_scatter + away * away * (count[at] * len(values) / total)
                count[at] = total
    spread = np.sqrt(scatter / np.maximum(count, 1)[:, None, None])
    scale = np.where(spread > 1e-6 * np.maximum(np.abs(mean), 1e-30), spread, 1.0)
    return list(zip(mean, scale, strict=True))
