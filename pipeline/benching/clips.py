"""Decoded clips for measurements, in a file that measuring processes read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.audio.decoding import read_waveform
from pipeline.exporting.verification import find_test_clips


@dataclass(frozen=True)
class BenchClips:
    """Clips in memory.

    Attributes:
        what: Description for messages.
        waveforms: Samples (T,) float32 of each clip.
        sample_rate: Their sample rate in Hz.
        file: The same as an `.npz` file.
    """

    what: str
    waveforms: tuple[np.ndarray, ...]
    sample_rate: int
    file: Path

    @property
    def durations_s(self) -> list[float]:
        """Duration of each clip in seconds."""
        return [len(waveform) / self.sample_rate for waveform in self.waveforms]


def read_bench_clips(
    run_dir: Path | None, named: Sequence[Path], scratch: Path, sample_rate: int, longest_s: float, most: int
) -> BenchClips:
    """Read clips as a model takes them, see `find_test_clips`.

    Args:
        run_dir: The run of the model, if it has one.
        named: Files or folders; empty: clips of the run, or synthetic sounds.
        scratch: Folder for files.
        sample_rate: Sample rate of the model in Hz.
        longest_s: Longer clips are left out, since the model would process them in windows.
        most: Largest number of clips.

    Raises:
        RunError: None of the named clips can be used.
    """
    found = find_test_clips(run_dir, named, scratch, sample_rate, longest_s, most)
    waveforms = tuple(read_waveform(path, sample_rate).samples for path in found.paths)
    file = scratch / "clips.npz"
    np.savez(file, *waveforms)
    return BenchClips(found.what, waveforms, sample_rate, file)
