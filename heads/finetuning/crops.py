"""Cached frames of clips as model inputs: random crops for training, windows over the whole clip for scoring."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heads.batched.blocks import scales
from heads.batched.frame_blocks import StoredFrames


@dataclass(frozen=True)
class ScoringWindows:
    """Crops and windows of clips, as inputs of one length.

    Attributes:
        frames: The clips' frames.
        length: Frames of a training crop and of a scoring window.
        fill: Padding value: one number, or one for each band (D,).
        fixed: Pad every input to `length`; otherwise only to the longest of its batch.
        shortest: Minimum number of frames of the model; shorter clips are padded and count as that long.
    """

    frames: StoredFrames
    length: int
    fill: float | Tensor
    fixed: bool = True
    shortest: int = 1

    def crops(self, clips: Sequence[int] | np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return one crop of each clip, at a random position if the clip is longer than a window.

        Returns:
            Inputs (B, F, D) float32 and lengths (B,) int64.
        """
        positions = rng.random(len(clips))
        spare = [max(0, int(self.frames.lengths[clip]) - self.length) for clip in clips]
        starts = [int(position * (free + 1)) for position, free in zip(positions, spare, strict=True)]
        return self._gather(list(zip(clips, starts, strict=True)))

    def windows_of(self, clip: int) -> list[int]:
        """Return the starts of the windows that cover a clip, evenly spaced; they overlap unless the length divides."""
        spare = int(self.frames.lengths[clip]) - self.length
        if spare <= 0:
            return [0]
        count = math.ceil(spare / self.length) + 1
        return [round(at * spare / (count - 1)) for at in range(count)]

    def covering(self, clips: Sequence[int] | np.ndarray, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield all windows of all clips, in batches.

        Yields:
            Inputs (B, F, D), lengths (B,), and (B,) the position in `clips` that each window belongs to.
        """
        windows = [(at, int(clip), start) for at, clip in enumerate(clips) for start in self.windows_of(int(clip))]
        for first in range(0, len(windows), batch_size):
            batch = windows[first : first + batch_size]
            inputs, lengths = self._gather([(clip, start) for _, clip, start in batch])
            yield inputs, lengths, torch.tensor([at for at, _, _ in batch])

    def _gather(self, windows: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """Read the windows that start at (clip, frame), and pad them."""
        read = [self.frames.read(int(clip), start, start + self.length) for clip, start in windows]
        lengths = [max(len(values), self.shortest) for values in read]
        width = max(self.length, self.shortest) if self.fixed else max(lengths)
        inputs = torch.empty(len(read), width, self.frames.dim)
        inputs[:] = torch.as_tensor(self.fill)
        target = inputs.numpy()
        for row, values in enumerate(read):
            target[row, : len(values)] = values
        return inputs, torch.tensor(lengths)


def band_statistics(frames: StoredFrames, clips: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each band over all frames of some clips, (D,) float32 each.

    The deviation of a constant band is infinite, see `heads.batched.blocks.scales`.
    """
    count, total, squares = 0, np.zeros(frames.dim), np.zeros(frames.dim)
    low, high, dtype = np.full(frames.dim, np.inf), np.full(frames.dim, -np.inf), np.dtype(np.float32)
    for clip in clips:
        stored = frames.read(int(clip))
        values, dtype = stored.astype(np.float64), stored.dtype
        count += len(values)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    # The difference of two large numbers is not exact enough to tell whether a band is constant; its range is.
    deviation[np.isinf(scales(high - low, mean, dtype))] = np.inf
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()
