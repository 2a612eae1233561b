"""Cached frames of clips as model inputs: random crops to train on, windows over the whole clip to score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heads.batched.frame_blocks import StoredFrames


@dataclass(frozen=True)
class ScoringWindows:
    """How clips become inputs of one length.

    Attributes:
        frames: The clips' frames.
        length: Frames of a training crop and of a scoring window.
        fill: What stands for silence: one number, or one for each band (D,).
        fixed: Pad every input to `length`; else only to the longest of its batch.
        shortest: Frames the model needs at least; shorter clips are padded to it and count as that long.
    """

    frames: StoredFrames
    length: int
    fill: float | Tensor
    fixed: bool = True
    shortest: int = 1

    def crops(self, clips: Sequence[int] | np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One crop of each clip, at a random place where the clip is longer than a window.

        Returns:
            Inputs (B, F, D) float32 and lengths (B,) int64.
        """
        places = rng.random(len(clips))
        spare = [max(0, int(self.frames.lengths[clip]) - self.length) for clip in clips]
        starts = [int(place * (free + 1)) for place, free in zip(places, spare, strict=True)]
        return self._gather(list(zip(clips, starts, strict=True)))

    def windows_of(self, clip: int) -> list[int]:
        """Starts of the windows that cover a clip, evenly spread; neighbours overlap where it does not divide."""
        spare = int(self.frames.lengths[clip]) - self.length
        if spare <= 0:
            return [0]
        count = math.ceil(spare / self.length) + 1
        return [round(at * spare / (count - 1)) for at in range(count)]

    def covering(self, clips: Sequence[int] | np.ndarray, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """All windows of all clips, in batches.

        Yields:
            Inputs (B, F, D), lengths (B,), and (B,) which of `clips` each window belongs to.
        """
        pieces = [(at, int(clip), start) for at, clip in enumerate(clips) for start in self.windows_of(int(clip))]
        for first in range(0, len(pieces), batch_size):
            batch = pieces[first : first + batch_size]
            inputs, lengths = self._gather([(clip, start) for _, clip, start in batch])
            yield inputs, lengths, torch.tensor([at for at, _, _ in batch])

    def _gather(self, pieces: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """ScoringWindows that start at (clip, frame), padded."""
        read = [self.frames.read(int(clip), start, start + self.length) for clip, start in pieces]
        lengths = [max(len(values), self.shortest) for values in read]
        width = max(self.length, self.shortest) if self.fixed else max(lengths)
        inputs = torch.empty(len(read), width, self.frames.dim)
        inputs[:] = torch.as_tensor(self.fill)
        target = inputs.numpy()
        for row, values in enumerate(read):
            target[row, : len(values)] = values
        return inputs, torch.tensor(lengths)


def band_statistics(frames: StoredFrames, clips: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each band over all frames of some clips, (D,) float32 each."""
    count, total, squares = 0, np.zeros(frames.dim), np.zeros(frames.dim)
    for clip in clips:
        values = frames.read(int(clip)).astype(np.float64)
        count += len(values)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation[deviation < 1e-8 * np.maximum(1, np.abs(mean))] = 1.0  # a band that never changes
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()
