"""`python -m benchmarks.kills`: stage 1 killed at random moments, again and again, against a run nobody disturbed.

Processes of the command line are killed with SIGKILL after random times and started again, until the given number of
kills has hit one at work; then they are left to finish. First one process at a time, then three shares at the same
time. All rows of the sealed file, its keys and lengths have to be bit-equal to those of the undisturbed run, the file
whole, and nothing else left in the cache folder.
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

from features.store.table import verify_table

SHARES = 3
RATE = 16_000
FULL = {"name": "wav2vec2", "weights": "random", "size": "tiny"}


@dataclass
class Experiment:
    """One config, and how to run stage 1 on it."""

    config: Path
    cache: Path

    def start(self, share: str | None = None) -> subprocess.Popen[str]:
        """A process of the command line."""
        command = [sys.executable, "-m", "pipeline.cli", "features", str(self.config)]
        command += ["--set", f"output.cache={self.cache}", "--set", f"output.runs={self.cache}-runs"]
        command += [] if share is None else ["--shard", share]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]

    def finish(self) -> float:
        """Run to the end; how long it took."""
        started = time.perf_counter()
        _end(self.start())
        return time.perf_counter() - started

    def rows(self) -> dict[str, tuple[bytes, ...]]:
        """All that the sealed file holds of each clip."""
        (path,) = self.cache.rglob("*.h5")
        table = verify_table(path)
        columns = [*(table.embeddings(name) for name in table.poolings), table.n_frames, table.durations_s, table.keys]
        return {clip: tuple(np.asarray(c[row]).tobytes() for c in columns) for row, clip in enumerate(table.ids)}

    def leftovers(self) -> list[str]:
        """What a finished run may not leave."""
        return [path.name for path in self.cache.rglob("*") if path.suffix in (".tmp", ".parts")]


def disturbed(
    fresh: Callable[[int], Experiment], kills: int, shares: int, longest_s: float, rng: random.Random
) -> list[Experiment]:
    """Kill processes at work until there were enough kills; a cache that is sealed meanwhile makes room for another.

    Args:
        fresh: The n-th experiment, on a cache of its own.
        kills: How many.
        shares: Processes at a time; 1: without `--shard`.
        longest_s: The next kill comes within this time.
        rng: Decides when, and whom.
    """
    names = [None] if shares == 1 else [f"{number}/{shares}" for number in range(1, shares + 1)]
    experiments: list[Experiment] = []
    while kills:
        experiments.append(fresh(len(experiments)))
        crew = [experiments[-1].start(name) for name in names]
        while kills and any(process.poll() is None for process in crew):
            time.sleep(rng.uniform(0.0, longest_s))
            at_work = [at for at, process in enumerate(crew) if process.poll() is None]
            if at_work:
                at = rng.choice(at_work)
                os.kill(crew[at].pid, signal.SIGKILL)
                crew[at].communicate()
                crew[at] = experiments[-1].start(names[at])
                kills -= 1
        for process in crew:
            _end(process)
        for name in names:  # the one that was to seal may have been killed after the others had ended
            _end(experiments[-1].start(name))
    return experiments


def _end(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=900)
    if process.returncode:
        raise SystemExit(f"stage 1 ended with {process.returncode}: {errors.strip()}")


def make_clips(root: Path, count: int) -> None:
    """Seeded noise of unequal lengths."""
    for number in range(count):
        rng = np.random.default_rng(number)
        folder = root / ("even", "odd")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        samples = rng.uniform(-0.5, 0.5, 8_000 + 997 * number).astype(np.float32)
        sf.write(folder / f"{number:03d}.wav", samples, RATE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, compare, print; exit 1 where anything differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of each way")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root, config = Path(folder) / "clips", Path(folder) / "kills.yaml"
        make_clips(root, options.clips)
        features = {"pooling": ["mean", "std"], "block_rows": 3, "threads": 1, "backbones": [FULL]}
        config.write_text(yaml.safe_dump({"dataset": {"kind": "folder", "root": str(root)}, "features": features}))
        alone = Experiment(config, Path(folder) / "undisturbed")
        seconds = alone.finish()
        expected, same = alone.rows(), True
        for shares in (1, SHARES):

            def fresh(number: int, shares: int = shares) -> Experiment:
                return Experiment(config, Path(folder) / f"{shares}-processes-{number}")

            experiments = disturbed(fresh, options.kills, shares, seconds, rng)
            equal = all(experiment.rows() == expected for experiment in experiments)
            left = [name for experiment in experiments for name in experiment.leftovers()]
            same &= equal and not left
            print(
                f"{options.kills} kills of {shares} process(es) at a time, {len(experiments)} cache(s) sealed: "
                f"{'all' if equal else 'NOT all'} {len(expected)} rows bit-equal, left behind: {left or 'nothing'}",
                flush=True,
            )
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
