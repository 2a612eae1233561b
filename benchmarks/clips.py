"""Clips for benchmarks: local corpora if available, else synthetic sounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from features.datasets import load_manifest
from features.manifest import Manifest

SHARED = Path("../shared/data")
SPEECH = SHARED / "free-spoken-digit-dataset"  # short clips, 8 kHz
SOUNDS = SHARED / "ESC-10"  # 5 s clips, 44.1 kHz


class Silent:
    """A progress reporter without output."""

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """Nothing."""

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""


def clips_of(folder: Path, spare: Path) -> list[Path]:
    """Return the audio files in a folder, or synthetic sounds if the folder does not exist."""
    if not folder.is_dir():
        manifest = load_manifest({"kind": "synthetic", "root": str(spare / "synthetic")})
        return [manifest.path_of(row) for row in range(len(manifest))]
    return sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".ogg", ".flac"))


def spread(paths: list[Path], count: int) -> list[Path]:
    """Select `count` of the paths, evenly spaced."""
    count = min(count, len(paths))
    return [paths[at * len(paths) // count] for at in range(count)]


def as_wav(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Convert clips to 16-bit WAV files at their own sample rates, in `folder`."""
    files = [folder / f"{number:05d}.wav" for number in range(len(paths))]
    for path, file in zip(paths, files, strict=True):
        sf.write(file, *sf.read(path), subtype="PCM_16")
    return files


def manifest_of(paths: Sequence[Path]) -> Manifest:
    """Return a manifest of files with a placeholder label."""
    names = [str(path.resolve()) for path in paths]
    return Manifest("bench", Path("/"), pd.DataFrame({"id": names, "path": names, "label": "any"}))


def write_noises(folder: Path, count: int, seconds: float, sample_rate: int = 8000) -> None:
    """Fill a folder with short clips of noise, 1,000 per subfolder; existing files are kept."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.5, 0.5, 2 * round(seconds * sample_rate)).astype(np.float32)
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"{number % 1000:03d}.wav"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        start = int(rng.integers(len(noise) // 2))
        sf.write(path, noise[start : start + len(noise) // 2], sample_rate, subtype="PCM_16")
