"""Compare the rows of one process, Ray actors and several shards: `python -m benchmarks.spread CONFIG…`.

Each way has its own cache and runs from the command line. All plans use the same settings and one thread, so all rows
must be bit-equal on a CPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from features.store.verify import verify_table

BACKBONES = "features.backbones=[{name: mfcc}, {name: wav2vec2, weights: random, size: tiny}]"
WAYS: dict[str, list[list[str]]] = {  # processes at the same time
    "local": [[]],
    "ray, 2 actors": [["--engine", "ray", "--set", "features.ray={actors: 2, cpus_per_actor: 1}"]],
    "3 shards": [["--shard", f"{number}/3"] for number in (1, 2, 3)],
}
Row = tuple[bytes, ...]


def run(config: Path, sets: Sequence[str], cache: Path, processes: Sequence[Sequence[str]]) -> float:
    """Run stage 1 into a cache; return the seconds."""
    common = [*sets, BACKBONES, "features.pooling=[mean, std]", "features.threads=1", "features.block_rows=64"]
    common += [f"output.cache={cache}", f"output.runs={cache}-runs"]
    command = [sys.executable, "-m", "pipeline.cli", "features", str(config)]
    command += [part for override in common for part in ("--set", override)]
    started = time.perf_counter()
    running = [
        subprocess.Popen([*command, *own], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for own in processes
    ]
    for process in running:
        _, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"stage 1 ended with {process.returncode}: {errors.strip()}")
    return time.perf_counter() - started


def rows(cache: Path) -> dict[str, dict[str, Row]]:
    """Return file name -> clip -> all its values."""
    found = {}
    for path in sorted(cache.rglob("*.h5")):
        table = verify_table(path)
        columns = [*(table.embeddings(name) for name in table.poolings), table.n_frames, table.durations_s, table.keys]
        found[path.name] = {
            clip: tuple(np.asarray(column[row]).tobytes() for column in columns) for row, clip in enumerate(table.ids)
        }
    return found


def main() -> None:
    """Run all ways, compare and print; exit with 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spread", description=__doc__)
    parser.add_argument("configs", type=Path, nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets")
    options = parser.parse_args()
    same = True
    for config in options.configs:
        with tempfile.TemporaryDirectory() as folder:
            expected: dict[str, dict[str, Row]] = {}
            for number, (way, processes) in enumerate(WAYS.items()):
                cache = Path(folder) / str(number)
                seconds = run(config, options.sets, cache, processes)
                found = rows(cache)
                expected = expected or found
                same &= found == expected
                counts = ", ".join(f"{name.partition('-')[0]} {len(clips)} rows" for name, clips in found.items())
                verdict = "the reference" if number == 0 else "bit-equal" if found == expected else "NOT equal"
                print(f"{config.stem} {way}: {counts}, {seconds:.0f} s, {verdict}", flush=True)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
