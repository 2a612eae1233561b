"""Tiny tasks that can be learnt in a second: bands, or the pitch of a waveform, tell the class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from heads.finetuning.augmentation import Augmenter
from heads.finetuning.crops import ScoringWindows, band_statistics
from heads.finetuning.finetune import SplitRows
from heads.finetuning.lightning_module import TrainingClips
from heads.finetuning.network import StandardisedNetwork
from heads.models import build

N_BANDS, N_CLASSES = 16, 4


@dataclass
class Stored:
    """`ClipFrames` of arrays; remembers what was read."""

    arrays: list

    def __post_init__(self):
        self.lengths = np.array([len(values) for values in self.arrays])
        self.dim = self.arrays[0].shape[1]
        self.reads = []

    def read(self, clip, start=0, stop=None):
        self.reads.append(clip)
        return self.arrays[clip][start:stop]


@dataclass
class Task:
    """TrainingClips of four classes, unequal in length."""

    options: object
    n_clips: int = 40
    strength: float = 2.0
    window: ClassVar[int] = 40

    def __post_init__(self):
        self.targets = np.arange(self.n_clips) % N_CLASSES
        self.frames = Stored(self.arrays(np.random.default_rng(0)))
        windows = ScoringWindows(self.frames, self.window, fill=0.0)
        augmenter = Augmenter(self.options.augment, frame_rate=30.0, decibels=True)
        self.clips = TrainingClips(windows, self.targets, N_CLASSES, augmenter)
        order = np.arange(self.n_clips)
        self.rows = SplitRows(order[: self.n_clips * 6 // 10], order[self.n_clips * 6 // 10 : -8], order[-8:])

    def arrays(self, rng):
        """The clips' frames (F, D)."""
        shapes = np.eye(N_BANDS, dtype=np.float32)[3 * self.targets] * self.strength
        noise = [rng.standard_normal((rng.integers(20, 60), N_BANDS)).astype(np.float32) for _ in self.targets]
        return [values + shape for values, shape in zip(noise, shapes, strict=True)]

    def network(self):
        return build(self.options, self.frames.dim, N_CLASSES)

    def build(self):
        return StandardisedNetwork(self.network(), *band_statistics(self.frames, self.rows.train))


class WaveformTask(Task):
    """The same with waveforms."""

    window: ClassVar[int] = 4000

    def arrays(self, rng):
        """The clips' samples (T, 1)."""
        waves = []
        for target in self.targets:
            times = np.arange(rng.integers(3000, 6000))[:, None]
            tone = np.sin(2 * np.pi * 0.02 * 2.0**target * times)
            waves.append((0.3 * tone + 0.05 * rng.standard_normal(times.shape)).astype(np.float32))
        return waves


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
