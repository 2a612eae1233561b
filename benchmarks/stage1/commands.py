"""Run time of commands that have nothing to compute."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.clips import write_noises
from benchmarks.figures import Figure

CONFIG = """\
name: finished
dataset: {{kind: folder, root: {root}}}
features:
  backbones:
    - {{name: wav2vec2, weights: random, size: tiny}}
output: {{cache: {folder}/cache, runs: {folder}/runs}}
"""


def help_figures(rounds: int) -> list[Figure]:
    """Time `--help`."""
    seconds = [_seconds(["--help"], Path.cwd()) for _ in range(max(5, rounds))]
    return [Figure("audioheads --help", statistics.median(seconds), "s", at_most=0.5)]


def rerun_figures(clips: int, rounds: int) -> list[Figure]:
    """Time `features` on clips that are all cached."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_noises(folder / "clips", clips, 0.1)  # a subfolder is a label
        (folder / "finished.yaml").write_text(CONFIG.format(root=folder / "clips", folder=folder), encoding="utf-8")
        command = ["features", "finished.yaml", "--device", "cpu"]
        first = _seconds(command, folder)
        seconds = [_seconds(command, folder) for _ in range(rounds)]
    details = {"first run s": first}
    return [Figure(f"features again over {clips} clips", statistics.median(seconds), "s", at_most=5.0, details=details)]


def _seconds(arguments: list[str], folder: Path) -> float:
    """Return the wall time of one command in a new process."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments], cwd=folder, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - started
