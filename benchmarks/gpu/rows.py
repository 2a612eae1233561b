"""The rows of the GPU benchmark, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.gpu.correctness import family_figures, memory_figures
from benchmarks.gpu.models import FULL, SMALL, Sizes
from benchmarks.gpu.speed import speed_figures, write_files
from benchmarks.gpu.training import head_figures, resnet_figures


@dataclass(frozen=True)
class Bench:
    """What all rows share.

    Attributes:
        device: Torch device.
        tiny: Whether models and sizes are tiny; figures then have no meaning.
        audio: Folder of 16 kHz WAV files; None: they are generated.
        folder: Folder for temporary files.
    """

    device: str
    tiny: bool
    audio: Path | None
    folder: Path

    @property
    def sizes(self) -> Sizes:
        """Return how much work each row does."""
        return SMALL if self.tiny else FULL

    def files(self) -> list[Path]:
        """Return the WAV files of the speed rows."""
        return sorted(self.audio.rglob("*.wav")) if self.audio else write_files(self.folder, self.sizes)


# a run that is cut after three minutes still has the important rows
ROWS: dict[str, Callable[[Bench], Iterable[Figure]]] = {
    "families": lambda bench: family_figures(bench.device, bench.sizes, bench.tiny),
    "memory": lambda bench: memory_figures(bench.device, bench.sizes, bench.tiny),
    "speed": lambda bench: speed_figures(bench.files(), bench.device, bench.sizes, bench.tiny),
    "heads": lambda bench: head_figures(bench.device, bench.tiny),
    "resnet": lambda bench: resnet_figures(bench.device, bench.sizes, bench.tiny, bench.folder),
}
CHECKS = ("families", "memory")
