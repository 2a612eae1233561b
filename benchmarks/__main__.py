"""Run the benchmarks (`make bench`), print the figures as one table and save them with device, versions and date."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# Set before torch is loaded, as in the command line: threads that spin while they wait slow each other down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from benchmarks import clips
from benchmarks.figures import Figure
from benchmarks.matmul import matmul_figures
from benchmarks.results import RESULTS, save
from benchmarks.stage1.commands import help_figures, rerun_figures
from benchmarks.stage1.comparison import mfcc_figures, nano_figures, vggish_figures, wav2vec2_figures, xares_figures
from benchmarks.stage1.feeding import feeding_figures
from benchmarks.stage1.memory import BACKBONES, rss_figures
from features.system.malloc import keep_large_buffers
from pipeline.console import Console


class Bench:
    """Options and clips shared by all rows."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        """Find the clips."""
        self.options = options
        self.speech = clips.spread(clips.clips_of(options.speech, folder), options.clips)
        self.sounds = clips.spread(clips.clips_of(options.sounds, folder), max(8, options.clips // 4))


# row -> its measurement; `python -m benchmarks --only ROW` runs one row
ROWS: dict[str, Callable[[Bench], list[Figure]]] = {
    "wav2vec2": lambda bench: wav2vec2_figures(bench.speech, bench.options.rounds, bench.options.device),
    "xares": lambda bench: xares_figures(bench.speech, bench.options.rounds, bench.options.xares),
    "nano": lambda bench: nano_figures(bench.sounds, bench.options.rounds, bench.options.device),
    "vggish": lambda bench: vggish_figures(bench.sounds, bench.options.rounds, bench.options.device),
    "mfcc": lambda bench: mfcc_figures(bench.sounds, bench.options.rounds),
    "matmul": lambda bench: matmul_figures(bench.options.rounds, bench.options.device),
    "feeding": lambda bench: feeding_figures(bench.sounds, bench.options.rounds),
    "help": lambda bench: help_figures(bench.options.rounds),
    "rerun": lambda bench: rerun_figures(bench.options.rerun_clips, bench.options.rounds),
    "rss": lambda bench: rss_figures(bench.options.many, 1000, bench.options.rss_backbone),
}


def main() -> None:
    """Measure, print, save."""
    keep_large_buffers()  # as the command line does
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=ROWS, nargs="+", default=list(ROWS), help="run only these rows")
    parser.add_argument("--speech", type=Path, default=clips.SPEECH, help="folder of short clips")
    parser.add_argument("--sounds", type=Path, default=clips.SOUNDS, help="folder of 5 s, 44.1 kHz clips")
    parser.add_argument("--clips", type=int, default=200, help="number of short clips; long clips: a quarter")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way; medians are printed")
    parser.add_argument("--many", type=int, default=100_000, help="number of clips in the row rss")
    parser.add_argument("--rss-backbone", choices=BACKBONES, default="wav2vec2-base", help="backbone of the row rss")
    parser.add_argument("--rerun-clips", type=int, default=10_000, help="number of clips in the row rerun")
    parser.add_argument("--xares", type=Path, help="Python of an environment with xares, for the row xares")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-save", action="store_true", help=f"do not write a JSON file to {RESULTS.name}/")
    options = parser.parse_args()
    console = Console()
    figures: dict[str, list[Figure]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        for row in options.only:
            if row == "xares" and options.xares is None:
                console.note("xares: skipped; set --xares to the Python of an environment with xares")
                continue
            console.note(f"{row} …")
            figures[row] = ROWS[row](bench)
    heading = f"{options.device}, {torch.get_num_threads()} threads, medians of {options.rounds} rounds"
    columns = ("what", "figure", "goal", "met", "details")
    console.table(columns, [figure.cells() for row in figures.values() for figure in row], title=heading)
    if not options.no_save:
        console.line(f"saved {save(figures, options.device)}")


if __name__ == "__main__":
    main()
