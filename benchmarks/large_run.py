"""Measure a whole run of a large corpus, stage by stage: seconds of CPU, peak memory, growth.

The corpus is generated: segments of half a second in a few long WAV files, listed in a table, in 35 classes. They are
embedded with 13 layers of a small Wav2Vec2 with random weights, on which the heads `linear` and `knn` are trained. Each
command runs in a process of its own. The growth exponent is log(seconds ratio) / log(size ratio) between a size and the
one before; the seconds that a command spends on imports are measured first and subtracted.
Run: `python -m benchmarks.large_run --clips 5000 20000`. Exits with 1 if a command needs more than `--limit-mb`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from benchmarks.figures import growth_text

ROOT = Path(__file__).resolve().parent.parent
RATE_HZ, CLIP_S, CLIPS_PER_FILE, N_CLASSES = 16_000, 0.5, 2000, 35
CLIPS_PER_GROUP = 40
LAYERS, DIM = 12, 64
CONFIG = """\
name: large
dataset: {kind: csv, root: clips.csv, name: large}
features: {pooling: [mean], backbones: [{name: wav2vec2, weights: network}]}
heads: [{name: linear}, {name: knn}]
protocol: split
seeds: [0]
output: {cache: cache, runs: runs}
"""
STAGES: dict[str, list[str]] = {
    "features": ["features"],
    "linear": ["train-heads", "--set", "heads=[{name: linear}]"],
    "knn": ["train-heads", "--set", "heads=[{name: knn}]"],
    "report": ["report"],
}
IMPORTS = "transformers, pipeline.stages.train_heads, pipeline.report.run"


@dataclass(frozen=True)
class Cost:
    """CPU seconds and peak resident memory (MB) of one command."""

    seconds: float
    peak_mb: float


def write_corpus(folder: Path, n_clips: int) -> None:
    """Write the WAV files, the table of clips and the config of an experiment.

    A clip is a tone in noise, whose pitch depends on its class. A group of clips is in one split only. Of ten groups,
    eight are for training, one for validation and one for testing.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(n_clips) % N_CLASSES
    time_s = np.arange(round(CLIP_S * RATE_HZ), dtype=np.float32) / RATE_HZ
    for first in range(0, n_clips, CLIPS_PER_FILE):
        with sf.SoundFile(folder / f"{first:07d}.wav", "w", RATE_HZ, 1, "PCM_16") as file:
            for label in labels[first : first + CLIPS_PER_FILE]:
                pitch_hz = 120 * 2 ** (label / 7) * rng.uniform(0.95, 1.05)
                noise = rng.standard_normal(len(time_s), dtype=np.float32)
                file.write(0.3 * np.sin(2 * np.pi * pitch_hz * time_s + rng.uniform(0, 6)) + 0.05 * noise)
    clips = np.arange(n_clips)
    groups = clips // CLIPS_PER_GROUP
    table = {
        "id": [f"clip-{clip:07d}" for clip in clips],
        "path": [f"{clip // CLIPS_PER_FILE * CLIPS_PER_FILE:07d}.wav" for clip in clips],
        "start_s": clips % CLIPS_PER_FILE * CLIP_S,
        "duration_s": CLIP_S,
        "label": [f"class-{label:02d}" for label in labels],
        "group": groups,
        "split": np.array(["train"] * 8 + ["valid", "test"])[groups % 10],
    }
    pd.DataFrame(table).to_csv(folder / "clips.csv", index=False)
    (folder / "large.yaml").write_text(CONFIG, encoding="utf-8")


def write_network(folder: Path) -> None:
    """Write a Wav2Vec2 of 12 layers with 64 dimensions and random weights, as `save_pretrained` does."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model, logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": LAYERS, "hidden_size": DIM, "intermediate_size": 2 * DIM, "num_attention_heads": 4}
    convolutions = {"conv_dim": [32] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    Wav2Vec2Model(Wav2Vec2Config(**sizes, **convolutions)).save_pretrained(folder)


def run(arguments: Sequence[str], folder: Path) -> Cost:
    """Run Python with some arguments in a process of its own, on one thread.

    Raises:
        SystemExit: The process failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    with (folder / "output.txt").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}: {output.read().strip()[-2000:]}")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def measure(n_clips: int, folder: Path) -> Iterator[tuple[str, Cost]]:
    """Generate a corpus in an empty folder and yield the name and the cost of every stage on it."""
    write_corpus(folder, n_clips)
    write_network(folder / "network")
    for stage, (command, *options) in STAGES.items():
        yield stage, run(["-m", "pipeline.cli", command, "large.yaml", *options], folder)


def main() -> None:
    """Print the table; exit with 1 if a command needed more memory than allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[5000, 20_000], metavar="N", help="sizes, ascending")
    parser.add_argument("--limit-mb", type=float, default=8000, metavar="MB", help="largest peak of memory allowed")
    parser.add_argument("--folder", type=Path, help="where the corpora are generated; default: a temporary folder")
    given = parser.parse_args()
    print(f"{'stage':<12}{'clips':>10}{'CPU s':>10}{'peak MB':>10}{'growth':>8}")
    earlier: dict[str, tuple[int, float]] = {}
    highest = 0.0
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        fixed_s = run(["-c", f"import {IMPORTS}"], Path(name)).seconds
        for n_clips in given.clips:
            place = Path(name) / str(n_clips)
            place.mkdir()
            for stage, cost in measure(n_clips, place):
                seconds = cost.seconds - fixed_s
                growth = growth_text((n_clips, seconds), earlier.get(stage))
                print(f"{stage:<12}{n_clips:>10,}{cost.seconds:>10.1f}{cost.peak_mb:>10.0f}{growth:>8}", flush=True)
                highest = max(highest, cost.peak_mb)
                earlier[stage] = n_clips, seconds
            shutil.rmtree(place)
    print(f"highest peak {highest:.0f} MB, allowed {given.limit_mb:.0f} MB")
    sys.exit(0 if highest <= given.limit_mb else 1)


if __name__ == "__main__":
    main()
