"""Batches to train on: clips made on the spot, and what the teacher says of each of their windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from features.backbones import load
from recipes.nano.clips import clip

WINDOW, HOP = 15_600, 7_680  # YAMNet's, in samples at 16 kHz
N_WINDOWS = 3
CLIP_SAMPLES = WINDOW + (N_WINDOWS - 1) * HOP  # 1.935 s: whole windows, no padding
TEACHER_DIM = 1024


@dataclass(frozen=True)
class Corpus:
    """Which clips a batch is made of.

    Attributes:
        teacher: YAMNet as a `.tflite` file; None: no targets.
        seed: Of the corpus.
        part: `clips.TRAIN` or `clips.HELD_OUT`.
        batch: Clips a batch, B.
        renderings: Of each clip; two for the contrast.
    """

    teacher: Path | None
    seed: int
    part: int
    batch: int
    renderings: int = 1


class Batches(Dataset[dict[str, Tensor]]):
    """Batch k, a function of the corpus and k alone: `waveforms` (R·B, T), `targets` (R·B, windows, 1024)."""

    def __init__(self, corpus: Corpus) -> None:
        """Nothing is made before it is asked for."""
        self.corpus = corpus

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """One batch; the renderings of a clip lie B rows apart."""
        own = self.corpus
        numbers = range(number * own.batch, (number + 1) * own.batch)
        waves = [
            clip(own.seed, own.part, one, CLIP_SAMPLES, rendering)
            for rendering in range(own.renderings)
            for one in numbers
        ]
        found = {"waveforms": torch.from_numpy(np.stack(waves))}
        if own.teacher is not None:
            frames = self._teacher.embed(waves)
            found["targets"] = torch.from_numpy(np.stack([one[0, :N_WINDOWS] for one in frames]))
        return found

    @cached_property
    def _teacher(self) -> Any:
        torch.set_num_threads(1)
        return load({"name": "yamnet", "weights": str(self.corpus.teacher)}, device="cpu")


def student_windows(hidden: Tensor) -> Tensor:
    """Mean of the frames that lie in each of the teacher's windows: (B, F, D) to (B, windows, D).

    A frame covers 400 samples every 320, so a window holds 48 whole frames and starts every 24.
    """
    frames, step = (WINDOW - 400) // 320 + 1, HOP // 320
    return hidden.unfold(1, frames, step)[:, :N_WINDOWS].mean(dim=3)
