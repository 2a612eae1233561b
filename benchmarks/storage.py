"""Compare the memory for a 3-hour and a 3-minute file, and the speed of reading a finalized cache and its raw bytes.

Memory: stage 1 in a new process for each file, with an untrained Wav2Vec2 of size `tiny`, pooling `mean` and
`frames`; median peak resident memory over rounds. Reading: embeddings verified with their SHA-256, from one file and
from a set of shard files, compared with reading the same bytes into one buffer and into new arrays. `cold`: after the
system was asked to drop the files from its page cache. `warm`: with the files in the page cache. Run:
`python -m benchmarks.storage`; it takes ten minutes on two cores. Medians on two cores with other load,
960 MB, from when arrays were read without HDF5 (until 2026-11-30):

    peak memory      3 minutes 962 MB, 3 hours 1008 MB, ratio 1.05 (two rounds)
    one file, cold   bytes 1633 MB/s, into new arrays  390 MB/s, checked embeddings 835 MB/s (five rounds)
    a set, cold      bytes 1364 MB/s, into new arrays  430 MB/s, checked embeddings 627 MB/s
    one file, warm   bytes 6487 MB/s, into new arrays 3582 MB/s, checked embeddings 458 MB/s
    a set, warm      bytes 5015 MB/s, into new arrays 3021 MB/s, checked embeddings 809 MB/s
    finalizing       5.3 s as one file, 1.3 s as a set
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from features.manifest import Manifest
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store import shard_set
from features.store.finalize import finalize
from features.store.table import open_table
from features.store.writer import CacheRows, Totals, write_file

RATE = 16_000
LONG_S = {"3 minutes": 180, "3 hours": 10_800}
READ_BYTES = 1 << 24
SPEC = BackboneSpec("noise", "noise", "none", "", RATE, tuple(range(13)), 768, 50.0, 0.1, 30.0)


def peak_memory(path: Path) -> float:
    """Return the peak resident memory in MB of embedding one file in stage 1; call it in a new process."""
    from benchmarks.clips import Silent
    from features import backbones
    from features.extract import extract
    from features.planning.settings import Settings
    from features.system.malloc import keep_large_buffers

    keep_large_buffers()  # as the command line does
    options = {"name": "wav2vec2", "weights": "random", "size": "tiny"}
    spec = backbones.describe(options)
    clips = pd.DataFrame({"id": [path.name], "path": [path.name], "label": ["a"]})
    settings = Settings(pooling=("mean", "frames"))
    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        manifest = Manifest("long", path.parent, clips)
        load = lambda: backbones.load(options, spec=spec)  # noqa: E731
        summary = extract(manifest, spec, load, settings, Path(cache), Silent())
        assert summary.computed == 1, summary.failures
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_long(path: Path, seconds: int) -> None:
    """Write seeded noise, one minute at a time."""
    random = np.random.default_rng(0)
    with sf.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(seconds // 60):
            file.write(random.uniform(-0.1, 0.1, 60 * RATE).astype(np.float32))


def write_caches(folder: Path, clips: int, shards: int) -> dict[str, Path]:
    """Write the same rows as one file and as a set of shard files."""
    spec = fp.cache_spec(SPEC, ["mean"])
    random = np.random.default_rng(0)
    paths = {}
    for name, limit in (("one file", 1 << 60), ("a set", 0)):
        shard_set.SET_BYTES = limit
        parts = folder / name.replace(" ", "-") / "noise.parts"
        written = []
        for shard in range(shards):
            ids = [f"{shard}-{number}" for number in range(clips // shards)]
            pooled = {"mean": random.normal(size=(len(ids), 13, 768)).astype(np.float32)}
            rows = CacheRows(ids, list(ids), [1.0] * len(ids), [1] * len(ids), pooled)
            written.append(parts / f"shard-{shard:06d}.h5")
            write_file(written[-1], spec, [rows], Totals.of(rows), {"clips": len(ids)})
        started = time.perf_counter()
        finalize(parts.with_suffix(".h5"), spec, written, ())
        paths[name] = parts.with_suffix(".h5")
        print(f"finalizing as {name}: {time.perf_counter() - started:.1f} s")
    return paths


def read_bare(files: Sequence[Path]) -> None:
    """Read all bytes of some files into one buffer."""
    buffer = bytearray(READ_BYTES)
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def read_new(files: Sequence[Path]) -> list[np.ndarray]:
    """Read all bytes of some files into new arrays, as for embeddings."""
    return [np.fromfile(path, np.uint8) for path in files]


def forget(files: Sequence[Path]) -> None:
    """Ask the system to drop some files from its page cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def seconds(work: Callable[[], object]) -> float:
    """Return the run time of a function in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare_memory(folder: Path, rounds: int) -> None:
    """Print the peak memory for both lengths, and their ratio."""
    peaks: dict[str, list[float]] = {name: [] for name in LONG_S}
    for name, length in LONG_S.items():
        write_long(folder / f"{name}.wav", length)
    for _ in range(rounds):
        for name in LONG_S:
            command = [sys.executable, "-m", "benchmarks.storage", "--memory-of", str(folder / f"{name}.wav")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[name].append(json.loads(done.stdout))
    short, long = (statistics.median(peaks[name]) for name in LONG_S)
    print(f"peak memory: 3 minutes {short:.0f} MB, 3 hours {long:.0f} MB, ratio {long / short:.3f}")


def compare_reading(folder: Path, rounds: int, clips: int) -> None:
    """Print the speed of reading and verifying a cache, relative to reading its bytes."""
    for name, path in write_caches(folder, clips, shards=16).items():
        files, size = shard_set.files_of(path), open_table(path).size_bytes
        shares: dict[str, list[tuple[float, ...]]] = {"cold": [], "warm": []}
        for _ in range(rounds):
            for state, times in shares.items():
                spent = []
                for work in (
                    lambda f=files: read_bare(f),
                    lambda f=files: read_new(f),
                    lambda p=path: open_table(p).embeddings(),
                ):
                    if state == "cold":
                        forget(files)
                    spent.append(seconds(work))
                times.append(tuple(spent))
        for state, times in shares.items():
            bare, new, ours = (size / statistics.median(column) / 1e6 for column in zip(*times, strict=True))
            shares_of = [statistics.median(row[column] / row[2] for row in times) for column in (0, 1)]
            print(
                f"{name}, {state}: bytes {bare:.0f} MB/s, into new arrays {new:.0f} MB/s, checked embeddings "
                f"{ours:.0f} MB/s, shares {shares_of[0]:.2f} and {shares_of[1]:.2f}"
            )


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-of", type=Path, help="print the peak memory of embedding this file, in MB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=24_000, help="clips of 40 kB in the cache")
    parser.add_argument("--skip-memory", action="store_true")
    arguments = parser.parse_args()
    if arguments.memory_of is not None:
        print(peak_memory(arguments.memory_of))
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        if not arguments.skip_memory:
            compare_memory(Path(folder), arguments.rounds)
        compare_reading(Path(folder), arguments.rounds, arguments.clips)


if __name__ == "__main__":
    main()
