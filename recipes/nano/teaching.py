"""Training shards: synthetic clips, and the teacher's embedding of each of their windows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from features.backbones import load
from features.backbones.loading.digests import file_sha256
from features.system.atomic_write import atomic_write
from recipes.nano.clips import HELD_OUT, VERSION, clip
from recipes.nano.objectives import FRAME_HOP, frames_in

WINDOW, HOP = 15_600, 7_680  # YAMNet's, in samples at 16 kHz
N_WINDOWS = 3
CLIP_SAMPLES = WINDOW + (N_WINDOWS - 1) * HOP  # 1.935 s: whole windows, no padding
TEACHER_DIM = 1024
RENDERINGS = 2
SHARD = 32  # waveforms per file: two renderings of each of 16 clips
FULL_SCALE = 32_767  # clips are stored as 16-bit samples


@dataclass(frozen=True)
class Corpus:
    """A corpus of synthetic clips, and the folder of its shards.

    Attributes:
        folder: Folder where shards are stored and read.
        teacher: YAMNet as a `.tflite` file; None: no targets.
        seed: Seed of the corpus.
    """

    folder: Path
    teacher: Path | None
    seed: int

    def claim(self) -> None:
        """Record in the folder which corpus its shards belong to.

        Raises:
            ValueError: The folder contains shards of another corpus.
        """
        about = {
            "clips": VERSION,
            "teacher": None if self.teacher is None else file_sha256(self.teacher),
            "seed": self.seed,
        }
        note = self.folder / "corpus.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        if note.exists() and json.loads(note.read_text()) != about:
            raise ValueError(f"{self.folder} contains other clips ({note.read_text()}), expected {json.dumps(about)}")
        note.write_text(json.dumps(about))


class Shards(Dataset[dict[str, Tensor]]):
    """The shards of one part of a corpus; shard k depends only on the corpus, the part and k.

    A shard contains `waveforms` (32, T) and, with a teacher, `targets` (32, windows, 1024). The two renderings of a
    clip are 16 rows apart.
    """

    def __init__(self, corpus: Corpus, part: int) -> None:
        """Select a part of a corpus; shards are computed on first access."""
        self.corpus, self.part = corpus, part

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Read one shard; compute and store it first if it does not exist."""
        path = self.path(number)
        if not path.exists():
            self._make(number, path)
        with np.load(path) as file:
            found = {"waveforms": torch.from_numpy(file["waveforms"].astype(np.float32) / FULL_SCALE)}
            if "targets" in file:
                found["targets"] = torch.from_numpy(file["targets"].astype(np.float32))
        return found

    def path(self, number: int) -> Path:
        """Return the file of shard `number`."""
        return self.corpus.folder / ("held-out" if self.part == HELD_OUT else "train") / f"{number:06d}.npz"

    def _make(self, number: int, path: Path) -> None:
        half = SHARD // RENDERINGS
        numbers = range(number * half, (number + 1) * half)
        waves = [
            clip(self.corpus.seed, self.part, one, CLIP_SAMPLES, rendering)
            for rendering in range(RENDERINGS)
            for one in numbers
        ]
        samples = np.round(np.stack(waves) * FULL_SCALE).astype(np.int16)
        arrays: dict[str, NDArray[Any]] = {"waveforms": samples}
        if self.corpus.teacher is not None:
            frames = self._teacher.embed(list(samples.astype(np.float32) / FULL_SCALE))
            arrays["targets"] = np.stack([one[0, :N_WINDOWS] for one in frames]).astype(np.float16)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)

    @cached_property
    def _teacher(self) -> Any:
        return load({"name": "yamnet", "weights": str(self.corpus.teacher)}, device="cpu")


def student_windows(hidden: Tensor) -> Tensor:
    """Average the frames in each of the teacher's windows: (B, F, D) to (B, windows, D).

    A window contains 48 whole frames, and a window starts every 24 frames.
    """
    frames, step = frames_in(WINDOW), HOP // FRAME_HOP
    return hidden.unfold(1, frames, step)[:, :N_WINDOWS].mean(dim=3)
