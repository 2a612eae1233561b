"""Killed at any moment: the next run finishes, keeps finished blocks, and produces the same bits."""

import itertools
import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.store.verify import verify_table
from tests import processes
from tests.features import kill_worker
from tests.features.toys import Corpus, noise, temporaries

CLIPS, BLOCK_ROWS = 12, 2
BACKBONES = {
    "wav2vec2": {"name": "wav2vec2", "weights": "random", "size": "tiny"},
    "mfcc": {"name": "mfcc"},
}
PLANNED = {"pooling": ["mean", "std"], "block_rows": BLOCK_ROWS, "batch_s": 20.0, "threads": 1}
# Resumed runs get other settings, so that results are only bit-equal if the plan is used.
RESUMED = {**PLANNED, "block_rows": 5, "batch_s": 60.0, "workers": 1}
TIMEOUT_S = 120


class Job:
    """One run of stage 1 in a separate process."""

    def __init__(self, folder: Path, backbone: str, **job: Any) -> None:
        folder.mkdir()
        self.folder = folder
        self.process = processes.Child(kill_worker.run, {**job, "folder": folder, "backbone": BACKBONES[backbone]})

    def wait_for(self, name: str) -> Path:
        deadline = time.monotonic() + TIMEOUT_S
        while not (self.folder / name).exists():
            assert time.monotonic() < deadline, f"{name} did not appear"
            time.sleep(0.01)
        return self.folder / name

    def kill(self, how: signal.Signals) -> None:
        self.wait_for("reached")
        self.process.kill(how)

    def report(self) -> dict:
        ended = self.process.wait()
        assert ended.returncode == 0, ended.stderr
        return json.loads((self.folder / "report.json").read_text())


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts jobs on one corpus of short clips of unequal length."""
    folder = tmp_path_factory.mktemp("kill")
    corpus = Corpus(folder / "clips", folder / "cache")
    for number in range(CLIPS):
        corpus.write(f"{number}.wav", noise(3000 + 1117 * number, number), 16_000)
    numbers = itertools.count()

    def start(backbone: str, cache: str, settings: dict = PLANNED, stop: str = "", run_shard: str = "") -> Job:
        job = {"root": corpus.root, "cache": folder / cache, "settings": settings, "stop": stop, "run_shard": run_shard}
        return Job(folder / f"job{next(numbers)}", backbone, **job)

    return start


@pytest.fixture(scope="module")
def undisturbed(start):
    """backbone -> its rows from an uninterrupted run."""
    reports = {backbone: start(backbone, "undisturbed").report() for backbone in BACKBONES}
    assert {report["computed"] for report in reports.values()} == {CLIPS}
    return {backbone: rows(report) for backbone, report in reports.items()}


def rows(report: dict) -> dict[str, tuple[bytes, ...]]:
    table = verify_table(report["path"])
    columns = [table.embeddings("mean"), table.embeddings("std"), table.n_frames, table.durations_s, table.keys]
    return {clip: tuple(np.asarray(column[row]).tobytes() for column in columns) for row, clip in enumerate(table.ids)}


SHARDS = CLIPS // BLOCK_ROWS
PLAN = "fsync:2"  # 1 is for the content keys; after the plan, there are two for each shard
BEFORE_RENAME = [3 + 2 * shard for shard in range(SHARDS)]
FINALIZING = 3 + 2 * SHARDS


QUICK = [
    ("wav2vec2", f"fsync:{BEFORE_RENAME[2]}", 2),  # the third shard is written, but not renamed
    ("wav2vec2", f"fsync:{FINALIZING}", SHARDS),  # the cache file is written, but not renamed
]
MORE = [
    ("wav2vec2", PLAN, 0),  # the plan does not exist yet
    ("wav2vec2", f"fsync:{BEFORE_RENAME[0]}", 0),  # neither does the first shard, in the middle of the next block
    ("mfcc", f"fsync:{BEFORE_RENAME[2] + 1}", 3),
    ("wav2vec2", f"fsync:{BEFORE_RENAME[4]}", 4),
    ("mfcc", f"fsync:{FINALIZING + 1}", SHARDS),
    ("wav2vec2", "rmtree:1", SHARDS),  # finalized, but the shards still exist
]


@pytest.mark.parametrize(
    ("backbone", "stop", "finished"), QUICK + [pytest.param(*point, marks=pytest.mark.crash) for point in MORE]
)
def test_after_kill_9_the_next_run_finalizes_the_same_bits(start, undisturbed, tmp_path, backbone, stop, finished):
    start(backbone, tmp_path / "cache", stop=stop).kill(signal.SIGKILL)
    settings = RESUMED if stop != PLAN else PLANNED
    report = start(backbone, tmp_path / "cache", settings).report()
    assert (report["computed"], report["reused"]) == (CLIPS - BLOCK_ROWS * finished, BLOCK_ROWS * finished)
    assert rows(report) == undisturbed[backbone]
    assert temporaries(tmp_path / "cache") == []


@pytest.mark.crash
@pytest.mark.parametrize("moment", [0, 1, 2])  # the index is written; the shards are moved; the index is renamed
def test_after_kill_9_while_finalizing_a_set_the_next_run_finalizes_the_same_bits(start, undisturbed, tmp_path, moment):
    large = {"set_bytes": 0}
    killed = start("mfcc", tmp_path / "cache", PLANNED | large, stop=f"fsync:{FINALIZING + moment}")
    killed.kill(signal.SIGKILL)
    (index,) = [*(tmp_path / "cache").glob("birds/*.h5")] if moment == 2 else [None]
    assert index is None or rows({"path": index}) == undisturbed["mfcc"]
    report = start("mfcc", tmp_path / "cache", RESUMED | large).report()
    assert (report["computed"], report["reused"]) == (0, CLIPS)
    assert rows(report) == undisturbed["mfcc"]
    assert temporaries(tmp_path / "cache") == []
    assert len([*(tmp_path / "cache").glob("birds/*.shards/*/*")]) == SHARDS


@pytest.mark.crash
@pytest.mark.parametrize("batches", [1, 3, 6])
def test_after_kill_9_between_batches_at_most_the_last_block_is_lost(start, undisturbed, tmp_path, batches):
    start("wav2vec2", tmp_path / "cache", stop=f"advance:{batches}").kill(signal.SIGKILL)
    report = start("wav2vec2", tmp_path / "cache", RESUMED).report()
    assert report["computed"] + report["reused"] == CLIPS
    assert report["reused"] >= BLOCK_ROWS * (batches - 1)  # shards are written concurrently and may be ahead
    assert rows(report) == undisturbed["wav2vec2"]
    assert temporaries(tmp_path / "cache") == []


@pytest.mark.crash
@pytest.mark.parametrize(("stop", "finished"), [("put:1", 1), ("put:3", 3), (f"fsync:{FINALIZING}", SHARDS)])
def test_after_ctrl_c_the_next_run_finalizes_the_same_bits(start, undisturbed, tmp_path, stop, finished):
    """An interrupted run still writes the batches that the model has finished, here one per block."""
    start("wav2vec2", tmp_path / "cache", stop=stop).kill(signal.SIGINT)
    report = start("wav2vec2", tmp_path / "cache", RESUMED).report()
    assert (report["computed"], report["reused"]) == (CLIPS - BLOCK_ROWS * finished, BLOCK_ROWS * finished)
    assert rows(report) == undisturbed["wav2vec2"]
    assert temporaries(tmp_path / "cache") == []


@pytest.mark.crash
def test_two_kills_do_not_change_the_bits(start, undisturbed, tmp_path):
    start("wav2vec2", tmp_path / "cache", stop=f"fsync:{BEFORE_RENAME[2]}").kill(signal.SIGKILL)
    start("wav2vec2", tmp_path / "cache", RESUMED, stop="fsync:5").kill(signal.SIGKILL)  # its third shard; no plan
    report = start("wav2vec2", tmp_path / "cache", RESUMED).report()
    assert (report["computed"], report["reused"]) == (CLIPS - 8, 8)
    assert rows(report) == undisturbed["wav2vec2"]
    assert temporaries(tmp_path / "cache") == []


@pytest.mark.crash
def test_a_second_run_at_the_same_time_waits_and_reuses_everything(start, undisturbed, tmp_path):
    first = start("wav2vec2", tmp_path / "cache", stop="advance:2")
    first.wait_for("reached")
    second = start("wav2vec2", tmp_path / "cache", stop="note:1")
    second.wait_for("reached")
    (second.folder / "go").touch()
    (first.folder / "go").touch()
    one, two = first.report(), second.report()
    assert (one["computed"], two["computed"], two["reused"]) == (CLIPS, 0, CLIPS)
    assert [note.split(" on ")[0] for note in two["notes"]] == ["waiting for another run"]
    assert rows(two) == undisturbed["wav2vec2"]
    assert temporaries(tmp_path / "cache") == []


@pytest.mark.crash
def test_run_shards_killed_at_random_moments_finalize_the_same_bits(start, undisturbed, tmp_path):
    """The short version of `python -m benchmarks.kills`."""
    rng, names = random.Random(0), ["1/2", "2/2"]
    jobs = {name: start("wav2vec2", tmp_path / "cache", run_shard=name) for name in names}
    for _ in range(6):
        time.sleep(rng.uniform(0.0, 0.2))
        name = rng.choice(names)
        jobs[name].process.kill()
        jobs[name] = start("wav2vec2", tmp_path / "cache", RESUMED, run_shard=name)
    for job in jobs.values():
        job.report()
    report = start("wav2vec2", tmp_path / "cache", RESUMED, run_shard="1/2").report()
    assert (report["computed"], report["reused"]) == (0, CLIPS)
    assert rows(report) == undisturbed["wav2vec2"]
    assert temporaries(tmp_path / "cache") == []
