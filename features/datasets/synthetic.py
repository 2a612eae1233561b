"""Synthetic sound classes, written as WAV files: a corpus for trying the program without a download."""

from __future__ import annotations

import wave
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from features.datasets.listing import manifest_of
from features.datasets.options import DatasetOptions
from features.datasets.synthesis.sounds import SOUNDS, scene
from features.errors import ManifestError
from features.manifest import Manifest
from features.system.atomic_write import atomic_write

ROOT = Path("data/synthetic")
VERSION = 1  # increase it when a sound changes, so that new files go to a new folder
FOLDS = 5
_WAV_HEADER_BYTES = 44


class Options(DatasetOptions):
    """Clips of synthetic sounds in noise, in `root/<stamp>/<class>/`; the stamp contains the options they depend on."""

    kind: Literal["synthetic"] = "synthetic"
    root: Path = Field(default=ROOT, description="folder to write the clips into")
    seed: int = Field(default=0, ge=0, description="another seed gives other clips of the same classes")
    clips_per_class: int = Field(default=25, ge=1, description="a larger number keeps the first clips unchanged")
    classes: list[str] | None = Field(default=None, description="only these sounds (default: all)")
    sample_rate_hz: int = Field(default=16000, ge=8000, le=192000, description="sample rate of the files, in Hz")
    min_duration_s: float = Field(default=0.5, ge=0.1, description="shortest clip, in seconds")
    max_duration_s: float = Field(default=4.0, ge=0.1, description="longest clip, in seconds")
    min_snr_db: float = Field(default=0.0, ge=-60, le=60, description="noisiest clip: sound to background power")
    max_snr_db: float = Field(default=40.0, ge=-60, le=60, description="cleanest clip: sound to background power")

    @model_validator(mode="after")
    def _ordered(self) -> Options:
        if self.max_duration_s < self.min_duration_s:
            raise ValueError(f"max_duration_s {self.max_duration_s} is below min_duration_s {self.min_duration_s}")
        if self.max_snr_db < self.min_snr_db:
            raise ValueError(f"max_snr_db {self.max_snr_db} is below min_snr_db {self.min_snr_db}")
        unknown = sorted(set(self.classes or ()) - set(SOUNDS))
        if unknown:
            raise ValueError(f"unknown sound {unknown[0]!r}; use some of {', '.join(SOUNDS)}")
        return self


def index(root: Path = ROOT, *, name: str | None = None, **options: object) -> Manifest:
    """Write the missing clips and list all; `fold` runs from 1 to 5 in every class.

    A clip depends only on the seed, its class and number, the sample rate, the durations and the noise levels.

    Args:
        root: The folder; created if it does not exist.
        name: The dataset's name.
        **options: The other fields of `Options`.

    Raises:
        ManifestError: The folder cannot be written to.
    """
    given = Options.model_validate({"root": root, "name": name, **options})
    stamp = (
        f"v{VERSION}-seed{given.seed}-{given.sample_rate_hz}hz"
        f"-{given.min_duration_s:g}to{given.max_duration_s:g}s-{given.min_snr_db:g}to{given.max_snr_db:g}db"
    )
    rows = []
    try:
        for label in sorted(given.classes or SOUNDS):
            (given.root / stamp / label).mkdir(parents=True, exist_ok=True)
            for number in range(given.clips_per_class):
                clip = f"{stamp}/{label}/{number:04d}.wav"
                _write_missing(given.root / clip, given, label, number)
                rows.append({"path": clip, "label": label, "fold": number % FOLDS + 1})
    except OSError as error:
        raise ManifestError(f"{given.root}: cannot write the clips: {error.strerror}; set dataset.root") from error
    return manifest_of(name or "synthetic", given.root, rows)


def _write_missing(path: Path, options: Options, label: str, number: int) -> None:
    """Write one clip as 16-bit WAV, atomically, unless a complete file exists."""
    rng = np.random.default_rng([options.seed, zlib.crc32(label.encode()), number])
    n_samples = round(rng.uniform(options.min_duration_s, options.max_duration_s) * options.sample_rate_hz)
    if path.is_file() and path.stat().st_size == _WAV_HEADER_BYTES + 2 * n_samples:
        return
    samples = scene(rng, SOUNDS[label], n_samples, options.sample_rate_hz, (options.min_snr_db, options.max_snr_db))
    with atomic_write(path, sync="none") as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(options.sample_rate_hz)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
