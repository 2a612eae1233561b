"""Sets: shard files with an index read like a single file, and every moment has the old or the new state."""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from features.errors import CacheError
from features.planning.settings import Settings
from features.planning.worklist import make_worklist
from features.store import frames as stored_frames
from features.store import shard_set
from features.store.frames import ClipFrames
from features.store.layout import set_folder
from features.store.shard_set import files_of
from features.store.table import open_table
from features.store.verify import verify_table
from tests.features.toys import NAMES, Log, rows_of, temporaries, toy_spec

pytestmark = pytest.mark.thorough

POOLING = {"pooling": ("mean", "max", "frames")}


@pytest.fixture
def large(seven, monkeypatch):
    """Seven clips whose cache is always finalized as a set."""
    monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    return seven


def shard_files(path):
    return sorted(set_folder(path).rglob("*.h5"))


def everything(path):
    """clip -> everything stored about it."""
    table = verify_table(path)
    frames = ClipFrames(table, list(table.ids))
    pooled = [table.embeddings(name) for name in table.poolings]
    return {
        clip: [
            *(table.keys[row], table.durations_s[row], table.n_frames[row]),
            *(values[row].tobytes() for values in pooled),
            *(table.frames(clip).tobytes(), frames.read(row).tobytes(), table.frames(clip, 2, 5).tobytes()),
        ]
        for row, clip in enumerate(table.ids)
    }


def test_a_set_holds_what_one_file_would(seven, monkeypatch):
    manifest = seven.manifest(*NAMES)
    one_file = everything(seven.run(manifest, block_rows=2, **POOLING).path)
    monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    seven.cache = seven.cache.with_name("other")
    summary = seven.run(manifest, block_rows=2, **POOLING)
    assert (summary.computed, summary.failures) == (7, {})
    assert everything(summary.path) == one_file
    assert len(shard_files(summary.path)) == 4
    table = open_table(summary.path)
    assert np.array_equal(table.layer(table.poolings[0], 0), table.embeddings(table.poolings[0])[:, 0])
    assert files_of(summary.path) == [summary.path, *shard_files(summary.path)]
    assert temporaries(seven.cache) == []
    seven.rerun(manifest, **POOLING)


def test_threads_read_frames_of_more_files_than_may_be_open(large, monkeypatch):
    monkeypatch.setattr(stored_frames, "MOST_OPEN", 1)
    table = open_table(large.run(large.manifest(*NAMES), block_rows=2, **POOLING).path)
    ids = list(table.ids)
    expected = [table.frames(clip).reshape(len(table.frames(clip)), -1) for clip in ids]

    def read(seed):
        for at in np.random.default_rng(seed).integers(len(ids), size=200):
            np.testing.assert_array_equal(frames.read(at), expected[at])

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ClipFrames(table, ids, memory_bytes=0) as frames, ThreadPoolExecutor(4) as pool:
            assert len(list(pool.map(read, range(4)))) == 4
    finally:
        sys.setswitchinterval(interval)


def test_finalizing_a_set_moves_the_shards_and_copies_nothing(large, monkeypatch):
    inodes = {}

    def write_index(*args, right=shard_set.write_index):
        for shard in large.file(**POOLING).with_suffix(".parts").glob("shard-*.h5"):
            inodes[shard.name] = shard.stat().st_ino
        right(*args)

    monkeypatch.setattr(shard_set, "write_index", write_index)
    path = large.run(large.manifest(*NAMES), block_rows=2, **POOLING).path
    assert inodes == {shard.name: shard.stat().st_ino for shard in shard_files(path)}
    with h5py.File(path) as file:
        assert "embeddings" not in file
        assert "frames" not in file


def test_small_caches_stay_one_file_and_become_a_set_when_they_grow(seven, monkeypatch):
    path = seven.run(seven.manifest(*NAMES[:3]), **POOLING).path
    assert shard_files(path) == []
    before = everything(path)
    monkeypatch.setattr(shard_set, "SET_BYTES", path.stat().st_size)
    summary = seven.run(seven.manifest(*NAMES), block_rows=2, **POOLING)
    assert (summary.computed, summary.reused) == (4, 3)
    after = everything(path)
    assert {clip: after[clip] for clip in before} == before
    assert set(after) == set(NAMES)
    assert [shard.name for shard in shard_files(path)] == ["earlier.h5", "shard-000000.h5", "shard-000001.h5"]
    monkeypatch.setattr(shard_set, "SET_BYTES", 1 << 40)
    seven.write("new.wav")
    assert seven.run(seven.manifest("new.wav"), **POOLING).computed == 1
    assert len(shard_files(path)) == 4  # a set stays one
    assert set(everything(path)) == {*NAMES, "new.wav"}


def test_a_changed_clip_replaces_its_row_and_a_file_without_current_rows_is_removed(large):
    manifest = large.manifest(*NAMES)
    path = large.run(manifest, block_rows=2, **POOLING).path
    before = everything(path)
    first = shard_files(path)
    with h5py.File(first[0]) as file:
        replaced = [clip.decode() for clip in file["clips/id"][()]]
    for clip in replaced:
        large.write(clip, np.full(4000, 0.25, np.float32))
    assert large.run(manifest, block_rows=2, **POOLING).computed == len(replaced) == 2
    after = everything(path)
    assert {clip: after[clip] for clip in NAMES if clip not in replaced} == {
        clip: before[clip] for clip in NAMES if clip not in replaced
    }
    assert all(after[clip] != before[clip] for clip in replaced)
    assert not first[0].exists()
    assert set(first[1:]) < set(shard_files(path))


def test_failures_are_kept_until_resolved(large):
    (large.root / "bad.wav").write_bytes(b"RIFF")
    manifest = large.manifest(*NAMES, "bad.wav")
    path = large.run(manifest, **POOLING).path
    assert list(open_table(path).failures) == ["bad.wav"]
    files = shard_files(path)
    large.rerun(manifest, **POOLING)
    (large.root / "worse.wav").write_bytes(b"RIFF")
    large.rerun(large.manifest(*NAMES, "bad.wav", "worse.wav"), **POOLING)
    assert sorted(open_table(path).failures) == ["bad.wav", "worse.wav"]
    assert shard_files(path) == files
    large.write("bad.wav")
    assert large.run(manifest, **POOLING).computed == 1
    assert list(verify_table(path).failures) == ["worse.wav"]


@pytest.mark.parametrize("loss", ["deleted", "cut", "folder"])
def test_a_missing_shard_file_is_named_and_only_its_clips_are_computed_again(large, loss):
    manifest = large.manifest(*NAMES)
    path = large.run(manifest, block_rows=2, **POOLING).path
    before = rows_of(path)
    shard = shard_files(path)[1]
    if loss == "cut":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif loss == "deleted":
        shard.unlink()
    else:
        shutil.rmtree(set_folder(path))
    table = open_table(path)
    for read in (lambda: table.embeddings("mean"), lambda: verify_table(path), lambda: ClipFrames(table, NAMES)):
        with pytest.raises(CacheError, match=r"run `audioheads features`") as error:
            read()
        named = str(shard) if loss != "folder" else "shard-00000"
        assert named in str(error.value)
        assert "\n" not in str(error.value)
    present = table.present()
    for clip in present:
        assert len(table.frames(clip)) > 0
    large.log = Log()
    summary = large.run(manifest, block_rows=2, **POOLING)
    assert summary.computed == (7 if loss == "folder" else 2)
    assert any(str(shard) in note and "computed again" in note for note in large.log.notes)
    after = rows_of(path)
    assert set(after) == set(before)
    assert all(np.array_equal(after[clip], before[clip]) for clip in before)
    large.rerun(manifest, **POOLING)


def test_a_damaged_shard_file_is_named_when_read_and_computed_again_once_moved_away(large):
    manifest = large.manifest(*NAMES)
    path = large.run(manifest, block_rows=2, **POOLING).path
    shard = shard_files(path)[2]
    whole = shard.read_bytes()
    with h5py.File(shard) as file:
        bulk = file["embeddings/mean"].id.get_chunk_info(0).byte_offset
    for at in (20, 700, bulk + 5, len(whole) - 3):
        shard.write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
        with pytest.raises(CacheError, match=r"damaged.*move the file away and run `audioheads features`") as error:
            verify_table(path)
        assert error.value.path == shard
    shard.write_bytes(whole[: bulk + 5] + bytes([whole[bulk + 5] ^ 64]) + whole[bulk + 6 :])
    with pytest.raises(CacheError, match=r"shard-000002.*damaged"):
        open_table(path).embeddings("mean")
    assert open_table(path).embeddings("max").shape == (7, 2, 4)
    shard.rename(shard.with_suffix(".bad"))
    assert large.run(manifest, block_rows=2, **POOLING).computed == 2
    assert len(verify_table(path)) == 7


def test_swapped_shard_files_are_detected(large):
    for name in NAMES:
        large.write(name, np.full(4000, int(name[0]) / 10, np.float32))  # equal sizes
    path = large.run(large.manifest(*NAMES), block_rows=1, **POOLING).path
    one, two = shard_files(path)[:2]
    assert one.stat().st_size == two.stat().st_size
    shutil.copy(one, two)
    with pytest.raises(CacheError, match="not the file that the index lists"):
        open_table(path).embeddings("mean")


def test_a_damaged_index_is_an_error_and_stays_as_it_is(large):
    path = large.run(large.manifest(*NAMES), **POOLING).path
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    with pytest.raises(CacheError, match="damaged"):
        large.rerun(large.manifest(*NAMES), **POOLING)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("moment", ["before the move", "after the move", "after the index"])
@pytest.mark.parametrize("grown", [False, True])
def test_an_interrupted_finalize_leaves_the_old_or_new_state_for_the_next_run(large, monkeypatch, moment, grown):
    """test_kill tests the same moments with a real kill."""
    path = large.file(**POOLING)
    if grown:
        large.run(large.manifest(*NAMES[:3]), block_rows=2, **POOLING)
    old = everything(path) if grown else {}

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "before the move":
            patch.setattr(shard_set.Path, "rename", stop)
        elif moment == "after the move":
            patch.setattr(shard_set, "sync_folder", stop)
        else:
            patch.setattr(shard_set, "_tidy", stop)
        with pytest.raises(KeyboardInterrupt):
            large.run(large.manifest(*NAMES), block_rows=2, **POOLING)
    if moment == "after the index":
        assert set(everything(path)) == set(NAMES)
    elif grown:
        assert everything(path) == old
    else:
        assert not path.exists()
    summary = large.rerun(large.manifest(*NAMES), block_rows=2, **POOLING)
    assert summary.reused == 7
    assert set(everything(path)) == set(NAMES)
    assert {clip: row for clip, row in everything(path).items() if clip in old} == old
    assert temporaries(large.cache) == []
    left = {item.relative_to(set_folder(path)) for item in set_folder(path).rglob("*") if item.is_file()}
    assert left == {shard.relative_to(set_folder(path)) for shard in shard_files(path)}


def test_another_manifest_after_an_interrupted_finalize_keeps_the_finished_shards(large, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shard_set, "sync_folder", stop)
        with pytest.raises(KeyboardInterrupt):
            large.run(large.manifest(*NAMES[:4]), block_rows=2, **POOLING)
    assert large.run(large.manifest(*NAMES), block_rows=2, **POOLING).computed == 3
    assert set(everything(large.file(**POOLING))) == set(NAMES)


def test_without_links_the_earlier_file_is_copied(seven, monkeypatch):
    path = seven.run(seven.manifest(*NAMES[:3]), **POOLING).path
    before = everything(path)

    def link(source, target, right=os.link):
        if target.name == shard_set.EARLIER:
            raise OSError("no links here")
        right(source, target)

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    seven.run(seven.manifest(*NAMES), **POOLING)
    after = everything(path)
    assert {clip: after[clip] for clip in before} == before


def test_a_survey_counts_what_is_lost(large):
    manifest = large.manifest(*NAMES)
    path = large.run(manifest, block_rows=2, **POOLING).path
    shard_files(path)[0].unlink()
    work = make_worklist(large.read(*NAMES), toy_spec(), Settings(**POOLING), large.cache)
    assert (len(work.reused), len(work.changed), len(work.new)) == (5, 2, 0)
