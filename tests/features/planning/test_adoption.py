"""Rows of the same audio under another dataset's name or another id are reused, bit for bit."""

from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from features.planning import adoption
from features.planning.run_shard import RunShard
from features.planning.settings import Settings
from features.store import shard_set
from features.store.fingerprint import cache_path
from features.store.table import open_table
from features.store.verify import verify_table
from tests.features.toys import NAMES, noise, rows_of, temporaries, toy_spec

pytestmark = pytest.mark.thorough


def named(manifest, name, prefix=""):
    """The same files under another dataset's name and, with a prefix, other ids."""
    return replace(manifest, name=name, clips=manifest.clips.assign(id=[prefix + one for one in manifest.clips["id"]]))


@pytest.mark.parametrize("pooling", [("mean", "std"), ("mean", "frames")])
def test_another_name_reuses_all_rows(seven, pooling):
    manifest = seven.manifest(*NAMES)
    first = seven.run(manifest, pooling=pooling)
    second = seven.rerun(named(manifest, "other", "x/"), pooling=pooling)
    assert (second.computed, second.reused, second.failures) == (0, 7, {})
    assert "reusing 7 row(s) of the dataset 'birds': the same audio with the same settings" in seven.log.notes
    assert second.path.parent.name == "other" and temporaries(seven.cache) == []
    old, new = verify_table(first.path), verify_table(second.path)
    for name in NAMES:
        np.testing.assert_array_equal(rows_of(first.path)[name], rows_of(second.path)[f"x/{name}"])
        if "frames" in pooling:
            np.testing.assert_array_equal(old.frames(name), new.frames(f"x/{name}"))
    assert new.cost["clips"] == 7 and new.cost["compute_s"] == pytest.approx(old.cost["compute_s"])


def test_only_what_is_nowhere_is_computed(seven):
    seven.run(seven.manifest(*NAMES[:4]))
    summary = seven.run(named(seven.manifest(*NAMES[2:]), "other"))
    assert (summary.computed, summary.reused) == (5 - 2, 2)
    assert set(rows_of(summary.path)) == set(NAMES[2:])
    plain = seven.run(named(seven.manifest(*NAMES), "third"), toy_spec())
    assert (plain.computed, plain.reused) == (0, 7), "from two files"


def test_new_ids_in_the_same_dataset_reuse_rows(seven):
    manifest = seven.manifest(*NAMES)
    cost = open_table(seven.run(manifest).path).cost
    summary = seven.rerun(named(manifest, "birds", "moved/"))
    assert summary.reused == 7
    assert "reusing 7 row(s) under other ids: the same audio with the same settings" in seven.log.notes
    after = open_table(summary.path)
    assert len(after) == 14 and after.cost["compute_s"] == cost["compute_s"] and after.cost["clips"] == 7


def test_one_row_serves_several_ids_and_segments_are_not_whole_files(seven):
    seven.run(seven.manifest(*NAMES[:1]))
    clips = pd.DataFrame({"id": ["a", "b", "c"], "path": [NAMES[0]] * 3, "label": "x"})
    clips["start_s"] = [np.nan, np.nan, 0.01]
    summary = seven.run(replace(seven.manifest(*NAMES[:1]), name="other", clips=clips))
    assert (summary.computed, summary.reused) == (1, 2)
    rows = rows_of(summary.path)
    np.testing.assert_array_equal(rows["a"], rows["b"])
    assert (rows["a"] != rows["c"]).any()


def test_changed_audio_or_other_settings_are_computed(seven):
    manifest = seven.manifest(*NAMES)
    seven.run(manifest)
    seven.write(NAMES[0], noise(1500, 99))
    summary = seven.run(named(manifest, "other"))
    assert (summary.computed, summary.reused) == (1, 6)
    assert seven.run(named(manifest, "more"), pooling=("max",)).computed == 7
    assert seven.run(named(manifest, "more"), toy_spec(settings={"hop": 80, "new": 1})).computed == 7


def test_a_file_of_other_settings_under_the_name_of_these_is_not_reused(seven):
    manifest = seven.manifest(*NAMES)
    other = seven.run(manifest, toy_spec(settings={"hop": 80, "new": 1})).path
    other.rename(seven.file())
    assert seven.run(named(manifest, "other")).computed == 7


def test_another_label_of_the_same_backbone_is_the_same(seven):
    manifest = seven.manifest(*NAMES)
    seven.run(manifest)
    assert seven.rerun(named(manifest, "other"), toy_spec(name="my toy")).reused == 7


def test_rows_of_a_set_are_reused(seven, monkeypatch):
    monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    manifest = seven.manifest(*NAMES)
    first = seven.run(manifest, block_rows=3)
    assert open_table(first.path).locations.is_set
    second = seven.rerun(named(manifest, "other", "x/"))
    assert second.reused == 7 and open_table(second.path).locations.is_set
    for name in NAMES:
        np.testing.assert_array_equal(rows_of(first.path)[name], rows_of(second.path)[f"x/{name}"])
    assert temporaries(seven.cache) == []


def flipped_bit(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def changed_value(path):
    """Changes a value and HDF5's own checksum of it."""
    with h5py.File(path, "r+") as file:
        file["embeddings/mean"][2] += 1


@pytest.mark.parametrize("damage", [flipped_bit, changed_value])
def test_a_damaged_file_is_not_reused(seven, damage):
    manifest = seven.manifest(*NAMES)
    path = seven.run(manifest).path
    damage(path)
    summary = seven.run(named(manifest, "other"))
    assert (summary.computed, summary.reused) == (7, 0)
    assert set(rows_of(summary.path)) == set(NAMES)


def test_a_file_that_is_replaced_while_it_is_copied_is_not_reused(seven, monkeypatch):
    manifest = seven.manifest(*NAMES)
    path = seven.run(manifest).path

    def replaced(*arguments, **options):
        written = original(*arguments, **options)
        monkeypatch.setattr(adoption, "write_file", original)
        path.write_bytes(other.read_bytes())
        return written

    original = adoption.write_file
    other = seven.run(named(seven.manifest(*NAMES[:3]), "three"), pooling=("max",)).path
    monkeypatch.setattr(adoption, "write_file", replaced)
    summary = seven.run(named(manifest, "other"))
    assert (summary.computed, summary.reused) == (7, 0)


def test_an_interrupted_plan_is_continued_instead(seven):
    manifest = named(seven.manifest(*NAMES), "other")
    shards = [RunShard(1, 2), RunShard(2, 2)]
    seven.run(manifest, block_rows=2, run_shard=shards[0])
    seven.run(seven.manifest(*NAMES))
    summary = seven.run(manifest, block_rows=2, run_shard=shards[1])
    assert not summary.waiting and not any("reusing" in note for note in seven.log.notes[1:])
    assert verify_table(summary.path).ids.size == 7


def test_shards_of_a_run_adopt_once(seven):
    seven.run(seven.manifest(*NAMES[:4]))
    manifest = named(seven.manifest(*NAMES), "other")
    for shard in (RunShard(1, 2), RunShard(2, 2)):
        summary = seven.run(manifest, block_rows=1, run_shard=shard)
    assert not summary.waiting and set(rows_of(summary.path)) == set(NAMES)
    assert cache_path(seven.cache, "other", Settings().cache_spec(toy_spec())) == summary.path
