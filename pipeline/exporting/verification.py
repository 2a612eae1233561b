"""An exported model against the original, on real clips, before anybody is told that it is there."""

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
from pipeline.predicting.locate import FoundModel
from pipeline.results.table import counted

CLIPS = 6
MADE_S = (1.0, 2.5, 5.0)  # of sounds made here


@dataclass(frozen=True)
class TestClips:
    """Clips that both models are asked about.

    Attributes:
        paths: Audio files.
        what: What they are, for people.
    """

    paths: tuple[Path, ...]
    what: str


def find_test_clips(
    model: FoundModel, named: Sequence[Path], folder: Path, sample_rate: int, longest_s: float
) -> TestClips:
    """Clips named, else some of the run's, spread over its manifest; else sounds made here.

    Args:
        model: Whose run to look in.
        named: Files or folders.
        folder: Where made sounds may be written.
        sample_rate: Of made sounds, in Hz.
        longest_s: Longer clips are passed over: windows of theirs may be joined differently.
    """
    files = [file for path in named for file in (audio_files(path) if path.is_dir() else [path])]
    if named:
        usable = _usable(files, longest_s)
        if not usable:
            raise RunError(f"--clips: none of {counted(len(files), 'clip')} can be read and is up to {longest_s:g} s")
        return TestClips(tuple(usable), counted(len(usable), "clip"))
    usable = _usable(_run_clips(model), longest_s)
    if usable and model.run_dir is not None:
        return TestClips(tuple(usable), f"{counted(len(usable), 'clip')} of the run {model.run_dir.name}")
    rng = np.random.default_rng(0)
    paths = []
    for number, seconds in enumerate(MADE_S):
        time = np.arange(round(min(seconds, longest_s) * sample_rate)) / sample_rate
        sound = 0.3 * np.sin(2 * np.pi * 200 * (1 + number) * time) + 0.1 * rng.standard_normal(len(time))
        paths.append(folder / f"made-{number}.wav")
        sf.write(paths[-1], sound.astype(np.float32), sample_rate, "FLOAT")
    return TestClips(tuple(paths), f"{len(paths)} sounds made here, since no clips of the run are (--clips names some)")


def compare(
    original: np.ndarray, predict: Callable[[Path], np.ndarray], clips: TestClips, tolerance: float, what: str
) -> float:
    """The largest difference between an exported model's outputs and the original's.

    Args:
        original: (N, C) of the clips.
        predict: The exported model: a file to (C,).
        clips: What both are asked about.
        tolerance: The largest difference that is let through.
        what: The exported model, for messages.

    Raises:
        RunError: The difference is larger; nothing is to be exported then.
    """
    said = np.stack([np.asarray(predict(path), np.float64).reshape(-1) for path in clips.paths])
    difference = float(np.abs(said - original).max())
    if not difference <= tolerance:  # NaN is none either
        raise RunError(
            f"{what}: differs by {difference:.2g} from the original on {clips.what} (at most {tolerance:g} is let "
            "through), so nothing was exported"
        )
    return difference


def _run_clips(model: FoundModel) -> list[Path]:
    """Whole files of the run's manifest, a few, spread over it."""
    if model.run_dir is None:
        return []
    try:
        table = tabular.read_clips(model.run_dir / "manifest.csv")
    except AudioheadsError:
        return []
    every = list(dict.fromkeys(table["path"]))
    return [model.run_dir / every[round(at)] for at in np.linspace(0, len(every) - 1, min(3 * CLIPS, len(every)))]


def _usable(files: Sequence[Path], longest_s: float) -> list[Path]:
    found: list[Path] = []
    for file in dict.fromkeys(files):
        try:
            long = read_waveform(file, None).duration_s > longest_s
        except AudioError:
            continue
        if not long and len(found) < CLIPS:
            found.append(file)
    return found
