"""Pruning: kept rows are unchanged, the file is complete at every moment, and removed rows are gone."""

import itertools
import os
import shutil
import signal
from pathlib import Path

import pytest

from features.errors import CacheError, RunError
from features.store import shard_set
from features.store.layout import set_folder
from features.store.prune import PARTS_SUFFIX, prune_rows, remove_cache, size_of, whole_caches
from features.store.table import open_table
from features.store.verify import verify_table
from features.system.locks import CacheLock
from tests import processes
from tests.features.store.test_shard_set import everything, shard_files
from tests.features.toys import NAMES, temporaries

pytestmark = pytest.mark.thorough

POOLING = {"pooling": ("mean", "max", "frames")}


def quiet(message):
    raise AssertionError(message)


@pytest.fixture(params=["one file", "set"])
def cache(seven, monkeypatch, request):
    """The corpus of seven clips and its cache, as one file and as a set."""
    if request.param == "set":
        monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    path = seven.run(seven.manifest(*NAMES), block_rows=2, **POOLING).path
    assert verify_table(path).locations.is_set == (request.param == "set")
    return seven, path


@pytest.mark.parametrize("keep", [NAMES[:1], NAMES[1:], NAMES[::2], NAMES[2:4]])
def test_rows_that_stay_keep_their_bits_and_the_others_are_gone(cache, keep):
    corpus, path = cache
    before = everything(path)
    size = size_of(path)
    pruned = prune_rows(path, set(keep), quiet)
    assert everything(path) == {clip: before[clip] for clip in keep}
    assert (pruned.clips, pruned.left) == (7 - len(keep), len(keep))
    assert pruned.size_bytes == size - size_of(path)
    assert temporaries(corpus.cache) == []
    assert {*shard_files(path)} == {member.path for member in open_table(path).locations.shard_files} - {path}
    corpus.rerun(corpus.manifest(*keep), **POOLING)
    assert corpus.run(corpus.manifest(*NAMES), block_rows=2, **POOLING).computed == 7 - len(keep)
    assert everything(path) == before


def test_a_dry_run_counts_the_same_and_changes_nothing(cache):
    _, path = cache
    before = {file: file.read_bytes() for file in [path, *shard_files(path)]}
    counted = prune_rows(path, {"0.wav"}, quiet, dry_run=True)
    assert {file: file.read_bytes() for file in [path, *shard_files(path)]} == before
    vectors, frames = 2 * 2 * 4 * 4, 2 * 4 * 4  # bytes per clip, per frame
    gone = [row for row, clip in enumerate(open_table(path).ids) if clip != "0.wav"]
    assert counted.size_bytes == 6 * vectors + frames * int(open_table(path).n_frames[gone].sum())
    pruned = prune_rows(path, {"0.wav"}, quiet)
    assert (pruned.clips, pruned.left, pruned.failures) == (counted.clips, counted.left, counted.failures)


def test_nothing_to_prune_leaves_the_file_alone(cache):
    _, path = cache
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert prune_rows(path, {*NAMES, "unknown"}, quiet).clips == 0
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_a_file_without_rows_is_removed(cache):
    corpus, path = cache
    assert prune_rows(path, set(), quiet).size_bytes > 0
    assert not path.exists() and not set_folder(path).exists()
    assert corpus.run(corpus.manifest(*NAMES), block_rows=2, **POOLING).computed == 7


def test_failures_of_clips_that_stay_stay(seven):
    (seven.root / "bad.wav").write_bytes(b"no audio")
    (seven.root / "worse.wav").write_bytes(b"no audio either")
    path = seven.run(seven.manifest(*NAMES, "bad.wav", "worse.wav"), **POOLING).path
    assert prune_rows(path, {"0.wav", "bad.wav"}, quiet).failures == 1
    assert set(open_table(path).failures) == {"bad.wav"}
    assert prune_rows(path, {"bad.wav"}, quiet).left == 0
    assert set(open_table(path).failures) == {"bad.wav"}


def test_a_damaged_file_is_not_pruned(cache):
    _, path = cache
    victim = next(iter(shard_files(path)), path)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    before = {file: file.read_bytes() for file in [path, *shard_files(path)]}
    with pytest.raises(CacheError, match="damaged"):
        prune_rows(path, set(NAMES[1::2]), quiet)
    assert {file: file.read_bytes() for file in [path, *shard_files(path)]} == before


def test_a_full_disk_leaves_everything_as_it_was(cache, monkeypatch):
    corpus, path = cache
    before = everything(path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="No space left"):
            prune_rows(path, set(NAMES[::2]), quiet)
    assert everything(path) == before
    assert [item for item in corpus.cache.rglob("*") if item.suffix in (".tmp", ".pruned")] == []


def prune_until_killed(path: Path, count: int, function: str, keep: set[str]) -> None:
    """Prune, or remove if nothing is kept; kill the process at the n-th call of a function of `os`."""
    calls, right = itertools.count(1), getattr(os, function)

    def stop(*args, **options):
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return right(*args, **options)

    setattr(os, function, stop)
    if keep:
        prune_rows(path, keep, print)
    else:
        remove_cache(path, print)


def kill_at(path, count, function, *keep):
    return processes.run(prune_until_killed, path, count, function, set(keep)).returncode


@pytest.mark.crash
@pytest.mark.parametrize(
    ("cache", "count", "function"),
    [
        ("one file", 1, "fsync"),  # the new file is written, but not renamed
        ("one file", 2, "fsync"),  # it is renamed
        ("set", 3, "fsync"),  # one of the shard files is rewritten
        ("set", 6, "fsync"),
        ("set", 8, "fsync"),
        ("set", 9, "fsync"),
        ("set", 2, "unlink"),
    ],
    indirect=["cache"],
)
def test_after_kill_9_the_file_is_whole_and_the_next_prune_finishes(cache, count, function):
    corpus, path = cache
    before, keep = everything(path), NAMES[::2]
    assert kill_at(path, count, function, *keep) == -signal.SIGKILL
    assert everything(path) in (before, {clip: before[clip] for clip in keep})
    prune_rows(path, set(keep), quiet)
    assert everything(path) == {clip: before[clip] for clip in keep}
    corpus.rerun(corpus.manifest(*keep), **POOLING)
    assert temporaries(corpus.cache) == [] and not path.with_suffix(".pruned").exists()
    assert {*shard_files(path)} == {member.path for member in open_table(path).locations.shard_files} - {path}


def test_rows_copied_by_an_interrupted_prune_do_not_come_back(seven, monkeypatch):
    monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    path = seven.run(seven.manifest(*NAMES), block_rows=2, **POOLING).path

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shard_set, "sync_folder", stop)  # the copies are moved, but the index is the old one
        with pytest.raises(KeyboardInterrupt):
            prune_rows(path, set(NAMES[::2]), quiet)
    prune_rows(path, {"0.wav"}, quiet)
    seven.rerun(seven.manifest("0.wav"), **POOLING)
    assert set(everything(path)) == {"0.wav"}
    assert len(shard_files(path)) == 1


def test_pruning_waits_for_a_run(cache):
    _, path = cache
    messages = []

    class WaitedError(Exception):
        pass

    def waits(message):
        messages.append(message)
        raise WaitedError

    with CacheLock(path, quiet), pytest.raises(WaitedError):
        prune_rows(path, {"0.wav"}, waits)
    assert "waiting for another run" in messages[0]
    assert len(open_table(path)) == 7


def test_removing_a_cache_removes_all_its_files(cache):
    corpus, path = cache
    parts = path.with_suffix(PARTS_SUFFIX)
    parts.mkdir()
    (parts / "plan.json").write_text("{}")
    assert whole_caches([corpus.cache]) == [path]
    size = size_of(path)
    assert remove_cache(path, quiet) == size
    assert [item.name for item in path.parent.iterdir() if item.name.startswith(path.stem)] == [f"{path.name}.lock"]
    assert whole_caches([corpus.cache]) == []


@pytest.mark.crash
def test_shard_files_that_a_kill_left_without_an_index_are_found(seven, monkeypatch):
    monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    path = seven.run(seven.manifest(*NAMES), block_rows=2, **POOLING).path
    assert kill_at(path, 1, "rmdir") == -signal.SIGKILL
    assert not path.exists() and set_folder(path).exists()
    assert whole_caches([seven.cache]) == [path]
    remove_cache(path, quiet)
    assert not set_folder(path).exists()


def test_a_missing_shard_file_stays_listed(seven, monkeypatch):
    monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    path = seven.run(seven.manifest(*NAMES), block_rows=2, **POOLING).path
    table = open_table(path)
    lost = shard_files(path)[0]
    away = lost.with_suffix(".away")
    shutil.move(lost, away)
    number = next(n for n, member in enumerate(table.locations.shard_files) if member.path == lost)
    some = str(table.ids[table.locations.shard_number == number][0])
    prune_rows(path, {some}, quiet)
    shutil.move(away, lost)
    assert list(everything(path)) == [some]
