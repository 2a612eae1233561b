"""Synthetic audio files, manifests of them, and a trivial backbone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile as sf
import torch

import features.corpus
from features.backbones.base import Backbone
from features.extract import Summary, extract
from features.manifest import Manifest
from features.planning.settings import Settings
from features.pooling import Frames
from features.spec import BackboneSpec
from features.store.fingerprint import cache_path
from features.store.verify import verify_table

RATE = 8000
NAMES = [f"{n}.wav" for n in range(7)]  # the clips of the fixture `seven`


def noise(n: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    """Seeded noise, (n,) or (n, channels) float32, within ±1."""
    values = np.random.default_rng(seed).uniform(-0.5, 0.5, (n, channels)).astype(np.float32)
    return values[:, 0] if channels == 1 else values


class Toy(Backbone):
    """Two layers of four numbers for every 80 samples."""

    def __init__(self, spec: BackboneSpec) -> None:
        self.spec = spec
        self.device = torch.device("cpu")

    def forward(self, waveforms, lengths):
        counts = lengths // 80
        frames = waveforms[:, : int(counts.max()) * 80].reshape(len(waveforms), -1, 80)
        values = torch.stack([frames.mean(2), frames.amax(2), frames.amin(2), frames.square().mean(2)], dim=2)
        return Frames(torch.stack([values, values + 1], dim=1), counts)


def toy_spec(**changes: Any) -> BackboneSpec:
    fields: dict[str, Any] = {
        "name": "toy",
        "family": "toy",
        "weights": "none",
        "weights_sha256": "",
        "sample_rate": RATE,
        "layers": (0, 1),
        "dim": 4,
        "frame_rate": RATE / 80,
        "min_duration_s": 80 / RATE,
        "max_duration_s": 10.0,
        "settings": {"hop": 80},
    }
    return BackboneSpec(**{**fields, **changes})


@dataclass
class Log:
    """A `Progress` that records what it receives."""

    notes: list[str] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    batches: int = 0

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        self.started.append(clips)

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        self.batches += 1

    def note(self, message: str) -> None:
        self.notes.append(message)


@dataclass
class Corpus:
    """A folder of clips and a cache folder."""

    root: Path
    cache: Path
    log: Log = field(default_factory=Log)
    loads: int = 0
    backbone: Callable[[BackboneSpec], Backbone] = Toy

    def write(self, name: str, samples: np.ndarray | None = None, rate: int = RATE, **options: Any) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, noise(1000, len(list(self.root.iterdir()))) if samples is None else samples, rate, **options)
        return path

    def manifest(self, *names: str, **columns: list) -> Manifest:
        clips = {"id": list(names), "path": list(names), "label": ["a"] * len(names), **columns}
        return Manifest("birds", self.root, pd.DataFrame(clips))

    def read(self, *names: str, **options: Any) -> features.corpus.Corpus:
        """Return a corpus of these files, as one command uses it."""
        return features.corpus.Corpus(self.manifest(*names), self.cache / "birds", **options)

    def run(
        self, manifest: Manifest | features.corpus.Corpus, spec: BackboneSpec | None = None, **settings: Any
    ) -> Summary:
        spec = spec or toy_spec()

        def load() -> Backbone:
            self.loads += 1
            return self.backbone(spec)

        how = {name: settings.pop(name) for name in ("engine", "run_shard") if name in settings}
        return extract(manifest, spec, load, Settings(**settings), self.cache, self.log, **how)

    def rerun(
        self, manifest: Manifest | features.corpus.Corpus, spec: BackboneSpec | None = None, **settings: Any
    ) -> Summary:
        """Run, and check that the backbone is not loaded."""
        before = self.loads
        summary = self.run(manifest, spec, **settings)
        assert self.loads == before, "loaded the backbone"
        assert summary.computed == 0
        return summary

    def file(self, **settings: Any) -> Path:
        return cache_path(self.cache, "birds", Settings(**settings).cache_spec(toy_spec()))


def write_seven(corpus: Corpus) -> Corpus:
    """Write the clips `NAMES`, of unequal lengths, and return the corpus."""
    for number, name in enumerate(NAMES):
        corpus.write(name, noise(800 + 300 * number, number))
    return corpus


def rows_of(path: Path, pooling: str = "mean") -> dict[str, np.ndarray]:
    """Return all embeddings of a file by id."""
    table = verify_table(path)
    return dict(zip(table.ids, table.embeddings(pooling), strict=True))


def temporaries(folder: Path) -> list[Path]:
    """Return files and folders that a finished run must not leave behind."""
    return [path for path in folder.rglob("*") if path.suffix in (".tmp", ".parts")]
