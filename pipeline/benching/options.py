"""How `audioheads bench` measures a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BenchOptions:
    """How a model is measured.

    Attributes:
        clips: Files or folders; empty: clips of the run, or synthetic sounds.
        n_clips: Number of clips to measure.
        threads: CPU threads.
        device: Device of torch: `auto`, or a torch device.
    """

    clips: tuple[Path, ...] = ()
    n_clips: int = 50
    threads: int = 1
    device: str = "cpu"
