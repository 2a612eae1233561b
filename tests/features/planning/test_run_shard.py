"""Run shards: each computes its blocks, the last one finalizes, and all use one plan."""

import itertools
import os
import threading

import numpy as np
import pytest

import features.planning.resume
from features.errors import UserError
from features.inference.worker import work_here
from features.planning.plan import Plan
from features.planning.resume import PLAN_FILE
from features.planning.run_shard import RunShard
from features.system import locks
from tests.features.toys import NAMES, Corpus, noise, rows_of, temporaries, write_seven

FOUR = {"block_rows": 2}  # seven clips: four blocks


def shard(text: str) -> dict:
    return {"run_shard": RunShard.parse(text), **FOUR}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Rows of a run without shards."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "clips").mkdir()
    corpus = write_seven(Corpus(folder / "clips", folder / "cache"))
    return rows_of(corpus.run(corpus.manifest(*NAMES), **FOUR).path)


def equal(rows: dict, others: dict) -> bool:
    return rows.keys() == others.keys() and all(np.array_equal(rows[clip], others[clip]) for clip in rows)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "3", "a/b", "-1/2", "1/2/3", "1.5/2", "", "1" * 30 + "/2"])
def test_an_invalid_shard_is_one_line(text):
    with pytest.raises(UserError, match=r"--shard .*: should be I/N with I from 1 to N, such as 1/8"):
        RunShard.parse(text)


@pytest.mark.parametrize("order", ["1/3 2/3 3/3", "3/3 1/3 2/3"])
def test_the_last_shard_finalizes(seven, undisturbed, order):
    manifest = seven.manifest(*NAMES)
    *first, last = order.split()
    for number, text in enumerate(first, 1):
        summary = seven.run(manifest, **shard(text))
        assert [str(other) for other in summary.waiting] == sorted(order.split()[number:])
        assert not summary.path.exists()
        assert summary.reused == 0
    summary = seven.run(manifest, **shard(last))
    assert summary.waiting == ()
    assert summary.computed + summary.reused == 7
    assert equal(rows_of(summary.path), undisturbed)
    assert temporaries(seven.cache) == []
    assert seven.rerun(manifest, **shard(last)).reused == 7


def test_shards_without_blocks_count_as_done(seven, undisturbed):
    manifest = seven.manifest(*NAMES)
    assert seven.run(manifest, **shard("9/9")).waiting == tuple(RunShard(n, 9) for n in (1, 2, 3, 4))
    for number in (1, 2, 3):
        assert seven.run(manifest, **shard(f"{number}/9")).waiting
    assert equal(rows_of(seven.run(manifest, **shard("4/9")).path), undisturbed)


def test_a_shard_run_again_computes_nothing_twice(seven):
    manifest = seven.manifest(*NAMES)
    assert seven.run(manifest, **shard("1/2")).computed == 4
    again = seven.rerun(manifest, **shard("1/2"))
    assert [str(other) for other in again.waiting] == ["2/2"]


def test_a_run_without_shards_finishes_their_plan(seven, undisturbed):
    manifest = seven.manifest(*NAMES)
    seven.run(manifest, **shard("1/2"))
    summary = seven.run(manifest, block_rows=100)
    assert (summary.computed, summary.reused) == (3, 4)
    assert equal(rows_of(summary.path), undisturbed)


def test_other_clips_are_refused_and_finished_blocks_are_kept(seven):
    summary = seven.run(seven.manifest(*NAMES), **shard("1/2"))
    parts = summary.path.with_suffix(".parts")
    before = sorted(path.name for path in parts.iterdir())
    with pytest.raises(UserError, match=r"plan covers 7 clips, which differ from this run's 5; give all shards"):
        seven.run(seven.manifest(*NAMES[:5]), **shard("2/2"))
    assert sorted(path.name for path in parts.iterdir()) == before


def test_a_plan_without_finished_blocks_is_no_obstacle(seven):
    seven.run(seven.manifest(*NAMES), **shard("9/9"))  # plans, but has no block
    summary = seven.run(seven.manifest(*NAMES[:2]), **shard("1/1"))
    assert (summary.computed, summary.waiting) == (2, ())


def test_shards_with_other_settings_use_the_first_plan(seven, undisturbed):
    manifest = seven.manifest(*NAMES)
    seven.run(manifest, **shard("1/2"))
    summary = seven.run(manifest, run_shard=RunShard(2, 2), block_rows=5, batch_s=0.3, threads=1)
    assert equal(rows_of(summary.path), undisturbed)


@pytest.mark.skipif(locks.fcntl is None, reason="no advisory locks on this system")
def test_concurrent_shards_do_not_wait_for_each_other(seven, undisturbed):
    manifest = seven.manifest(*NAMES)
    together, summaries = threading.Barrier(3, timeout=120), []

    def engine(job, numbers, progress):
        together.wait()  # all three are running
        return work_here(job, numbers, progress)

    def work(text):
        summaries.append(seven.run(manifest, **shard(text), engine=engine))

    threads = [threading.Thread(target=work, args=(f"{number}/3",)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert len(summaries) == 3
    assert sum(not summary.waiting for summary in summaries) >= 1
    assert sum(summary.computed for summary in summaries) == 7
    assert equal(rows_of(summaries[0].path), undisturbed)
    assert temporaries(seven.cache) == []


def test_a_shard_started_while_another_finalizes_finds_everything_done(seven, undisturbed, monkeypatch):
    """It waits for the lock; after that there is no plan left."""
    manifest = seven.manifest(*NAMES)
    seven.run(manifest, **shard("1/2"))
    late, calls, sync = [], itertools.count(1), os.fsync

    def fsync(descriptor):
        if next(calls) == 2 * 2 + 1:  # two for each of its two shards, then the cache file's
            late.append(threading.Thread(target=lambda: late.append(seven.run(manifest, **shard("1/2")))))
            late[0].start()
            late[0].join(0.3)
            assert late[0].is_alive(), "it waits"
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    summary = seven.run(manifest, **shard("2/2"))
    late[0].join(240)
    assert (late[1].computed, late[1].reused, late[1].waiting) == (0, 7, ())
    assert equal(rows_of(summary.path), undisturbed)


@pytest.mark.skipif(locks.fcntl is None, reason="no advisory locks on this system")
def test_a_shard_that_waited_for_a_run_without_a_plan_plans_itself(seven, undisturbed):
    late = []
    with locks.CacheLock(seven.file(**FOUR), seven.log.note):
        thread = threading.Thread(target=lambda: late.append(seven.run(seven.manifest(*NAMES), **shard("1/1"))))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it waits"
    thread.join(240)
    assert late[0].computed == 7
    assert equal(rows_of(late[0].path), undisturbed)


def test_a_shard_file_damaged_before_finalizing_is_computed_by_the_last_shard(seven, undisturbed):
    manifest = seven.manifest(*NAMES)
    parts = seven.run(manifest, **shard("1/2")).path.with_suffix(".parts")
    (parts / "shard-000002.h5").write_bytes(b"no shard")
    summary = seven.run(manifest, **shard("2/2"))
    assert summary.computed == 3 + 2
    assert any("shard-000002.h5 is damaged" in note for note in seven.log.notes)
    assert equal(rows_of(summary.path), undisturbed)


def test_moved_audio_is_found_by_each_shard(seven, undisturbed, tmp_path):
    seven.run(seven.manifest(*NAMES), **shard("1/2"))
    seven.root = seven.root.rename(tmp_path / "mounted elsewhere")
    summary = seven.run(seven.manifest(*NAMES), **shard("2/2"))
    assert equal(rows_of(summary.path), undisturbed)


def test_without_working_locks_the_first_plan_still_counts(seven, undisturbed, monkeypatch):
    """Two processes plan at the same time with different settings: both use the plan written first."""
    manifest = seven.manifest(*NAMES)
    monkeypatch.setattr(locks, "fcntl", None)
    make_plan, rivals = features.planning.resume.make_plan, []

    def planning(*arguments, **options):
        if not rivals:
            rivals.append(None)
            rivals.append(seven.run(manifest, **shard("1/2")))
        return make_plan(*arguments, **options)

    monkeypatch.setattr(features.planning.resume, "make_plan", planning)
    summary = seven.run(manifest, run_shard=RunShard(2, 2), block_rows=3)
    assert rivals[1].waiting == (RunShard(2, 2),)
    assert (summary.computed, summary.reused) == (3, 4)
    assert equal(rows_of(summary.path), undisturbed)
    assert temporaries(seven.cache) == []


def test_a_folder_without_hard_links_works(seven, undisturbed, monkeypatch):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    parts = seven.run(seven.manifest(*NAMES), **shard("1/2")).path.with_suffix(".parts")
    assert Plan.load(parts / PLAN_FILE) is not None
    assert equal(rows_of(seven.run(seven.manifest(*NAMES), **shard("2/2")).path), undisturbed)


def test_failures_are_reported_once_the_cache_is_finalized(seven):
    bad = noise(900)
    bad[5] = np.nan
    seven.write(NAMES[0], bad, subtype="FLOAT")
    manifest = seven.manifest(*NAMES)
    assert seven.run(manifest, **shard("1/2")).failures == {}
    assert list(seven.run(manifest, **shard("2/2")).failures) == [NAMES[0]]
    assert list(seven.rerun(manifest, **shard("1/2")).failures) == [NAMES[0]]
