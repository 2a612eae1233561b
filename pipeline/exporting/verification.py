"""Compare an exported model with the original on real clips before the export is published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from features.audio.decoding import read_waveform
from features.datasets import tabular
from features.datasets.listing import audio_files
from features.errors import AudioError, AudioheadsError, RunError
from pipeline.results.table import counted

CLIPS = 6
SYNTHETIC_S = (1.0, 2.5, 5.0)  # lengths of the synthetic sounds


@dataclass(frozen=True)
class TestClips:
    """Clips for the comparison.

    Attributes:
        paths: Audio files.
        what: Description for messages.
    """

    paths: tuple[Path, ...]
    what: str


def find_test_clips(
    run_dir: Path | None,
    named: Sequence[Path],
    folder: Path,
    sample_rate: int,
    longest_s: float,
    most: int = CLIPS,
) -> TestClips:
    """Return the named clips, or else clips spread over the run's manifest, or else synthetic sounds.

    Args:
        run_dir: The run that is searched for clips, if there is one.
        named: Files or folders given by the user.
        folder: Folder for synthetic sounds.
        sample_rate: Sample rate of synthetic sounds in Hz.
        longest_s: Longer clips are skipped, because their windows may be joined differently.
        most: Largest number of clips.

    Raises:
        RunError: None of the named clips can be used.
    """
    files = [file for path in named for file in (audio_files(path) if path.is_dir() else [path])]
    if named:
        usable = _usable(files, longest_s, most)
        if not usable:
            raise RunError(
                f"--clips: none of {counted(len(files), 'clip')} is readable and at most {longest_s:g} s long"
            )
        return TestClips(tuple(usable), counted(len(usable), "clip"))
    usable = [] if run_dir is None else _usable(_run_clips(run_dir, 3 * most), longest_s, most)
    if usable and run_dir is not None:
        return TestClips(tuple(usable), f"{counted(len(usable), 'clip')} of the run {run_dir.name}")
    rng = np.random.default_rng(0)
    paths = []
    for number, seconds in enumerate(SYNTHETIC_S):
        time = np.arange(round(min(seconds, longest_s) * sample_rate)) / sample_rate
        sound = 0.3 * np.sin(2 * np.pi * 200 * (1 + number) * time) + 0.1 * rng.standard_normal(len(time))
        paths.append(folder / f"synthetic-{number}.wav")
        sf.write(paths[-1], sound.astype(np.float32), sample_rate, "FLOAT")
    return TestClips(
        tuple(paths), f"{len(paths)} synthetic sounds, because no clips of the run are available (see --clips)"
    )


def compare(
    original: np.ndarray, predict: Callable[[Path], np.ndarray], clips: TestClips, tolerance: float, what: str
) -> float:
    """Return the largest difference between the outputs of an exported model and the original.

    Args:
        original: Outputs (N, C) of the original for the clips.
        predict: The exported model; maps a file to (C,).
        clips: Clips for the comparison.
        tolerance: Largest accepted difference.
        what: Name of the exported model for messages.

    Raises:
        RunError: The difference is larger than `tolerance`.
    """
    exported = np.stack([np.asarray(predict(path), np.float64).reshape(-1) for path in clips.paths])
    difference = float(np.abs(exported - original).max())
    if not difference <= tolerance:  # also true for NaN
        raise RunError(
            f"{what}: differs by {difference:.2g} from the original on {clips.what} (tolerance {tolerance:g}), "
            "so nothing was exported"
        )
    return difference


def _run_clips(run_dir: Path, most: int) -> list[Path]:
    """Return a few whole files spread over the run's manifest."""
    try:
        table = tabular.read_clips(run_dir / "manifest.csv")
    except AudioheadsError:
        return []
    every = list(dict.fromkeys(table["path"]))
    return [run_dir / every[round(at)] for at in np.linspace(0, len(every) - 1, min(most, len(every)))]


def _usable(files: Sequence[Path], longest_s: float, most: int) -> list[Path]:
    found: list[Path] = []
    for file in dict.fromkeys(files):
        if len(found) == most:
            break
        try:
            if read_waveform(file, None).duration_s <= longest_s:
                found.append(file)
        except AudioError:
            continue
    return found
