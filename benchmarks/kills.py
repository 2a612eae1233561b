"""Kill stage 1 at random times and compare its cache with that of an uninterrupted run: `python -m benchmarks.kills`.

Command-line processes are killed with SIGKILL at random times and started again, until the given number of kills has
hit a running process; then they run to the end. This is done with one process at a time, then with three shards in
parallel. All rows of the finalized file, its keys and lengths must be bit-equal to those of the uninterrupted run, the
file must be complete, and the cache folder must contain nothing else.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import yaml

from features.store.verify import verify_table

SHARDS = 3
RATE = 16_000
FULL = {"name": "wav2vec2", "weights": "random", "size": "tiny"}


@dataclass
class Experiment:
    """A config and a cache, with methods that run stage 1."""

    config: Path
    cache: Path

    def start(self, run_shard: str | None = None) -> subprocess.Popen[str]:
        """Start a command-line process, for all clips or for shard `i/n`."""
        command = [sys.executable, "-m", "pipeline.cli", "features", str(self.config)]
        command += ["--set", f"output.cache={self.cache}", "--set", f"output.runs={self.cache}-runs"]
        command += [] if run_shard is None else ["--shard", run_shard]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]

    def finish(self) -> float:
        """Run to the end; return the seconds."""
        started = time.perf_counter()
        _end(self.start())
        return time.perf_counter() - started

    def rows(self) -> dict[str, tuple[bytes, ...]]:
        """Return all values of each clip in the finalized file."""
        (path,) = self.cache.rglob("*.h5")
        table = verify_table(path)
        columns = [*(table.embeddings(name) for name in table.poolings), table.n_frames, table.durations_s, table.keys]
        return {clip: tuple(np.asarray(c[row]).tobytes() for c in columns) for row, clip in enumerate(table.ids)}

    def leftovers(self) -> list[str]:
        """Return the names of temporary files, of which a finished run leaves none."""
        return [path.name for path in self.cache.rglob("*") if path.suffix in (".tmp", ".parts")]


def interrupted(
    fresh: Callable[[int], Experiment], kills: int, n_shards: int, longest_s: float, rng: random.Random
) -> list[Experiment]:
    """Kill running processes until there are enough kills; a new cache is started when one is finalized before.

    Args:
        fresh: Returns the n-th experiment, with its own cache.
        kills: Number of kills.
        n_shards: Processes at a time; 1: without `--shard`.
        longest_s: Longest time between two kills, in seconds.
        rng: Draws the times and the processes.
    """
    names = [None] if n_shards == 1 else [f"{number}/{n_shards}" for number in range(1, n_shards + 1)]
    experiments: list[Experiment] = []
    while kills:
        experiments.append(fresh(len(experiments)))
        processes = [experiments[-1].start(name) for name in names]
        while kills and any(process.poll() is None for process in processes):
            time.sleep(rng.uniform(0.0, longest_s))
            running = [at for at, process in enumerate(processes) if process.poll() is None]
            if running:
                at = rng.choice(running)
                os.kill(processes[at].pid, signal.SIGKILL)
                processes[at].communicate()
                processes[at] = experiments[-1].start(names[at])
                kills -= 1
        for process in processes:
            _end(process)
        for name in names:  # the process that would finalize may have been killed after the others ended
            _end(experiments[-1].start(name))
    return experiments


def _end(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=900)
    if process.returncode:
        raise SystemExit(f"stage 1 ended with {process.returncode}: {errors.strip()}")


def make_clips(root: Path, count: int) -> None:
    """Write clips of seeded noise with different lengths."""
    for number in range(count):
        rng = np.random.default_rng(number)
        folder = root / ("even", "odd")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        samples = rng.uniform(-0.5, 0.5, 8_000 + 997 * number).astype(np.float32)
        sf.write(folder / f"{number:03d}.wav", samples, RATE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, compare and print; exit with 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="number of kills, each for one and for several processes")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root, config = Path(folder) / "clips", Path(folder) / "kills.yaml"
        make_clips(root, options.clips)
        features = {"pooling": ["mean", "std"], "block_rows": 3, "threads": 1, "backbones": [FULL]}
        config.write_text(yaml.safe_dump({"dataset": {"kind": "folder", "root": str(root)}, "features": features}))
        reference = Experiment(config, Path(folder) / "uninterrupted")
        seconds = reference.finish()
        expected, same = reference.rows(), True
        for n_shards in (1, SHARDS):

            def fresh(number: int, n_shards: int = n_shards) -> Experiment:
                return Experiment(config, Path(folder) / f"{n_shards}-processes-{number}")

            experiments = interrupted(fresh, options.kills, n_shards, seconds, rng)
            equal = all(experiment.rows() == expected for experiment in experiments)
            left = [name for experiment in experiments for name in experiment.leftovers()]
            same &= equal and not left
            print(
                f"{options.kills} kills of {n_shards} process(es) at a time, {len(experiments)} cache(s) finalized: "
                f"{'all' if equal else 'NOT all'} {len(expected)} rows bit-equal, leftover files: {left or 'none'}",
                flush=True,
            )
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
