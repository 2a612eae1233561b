"""Merging shards into a cache: the newest row wins, no row is lost, and damage changes nothing."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import CacheError
from features.store import file_header as header
from features.store import merge as merging
from features.store import table as store
from features.store.finalize import finalize
from features.store.table import open_table
from features.store.verify import verify_table
from tests.features.tables import FRAMES_SPEC, SPEC, by_id, rows, write

ids = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=4), st.integers(1, 400), st.booleans())
def test_merging_keeps_each_clips_newest_row_and_loses_none(tmp_path_factory, written, copy_bytes, with_frames):
    folder = tmp_path_factory.mktemp("merge")
    spec = FRAMES_SPEC if with_frames else SPEC
    pooling = spec["pooling"][0]
    expected, failing, frames = {}, {}, {}
    merging.COPY_BYTES, before = copy_bytes, merging.COPY_BYTES
    try:
        for number, (good, bad) in enumerate(written):
            failures = [(clip, f"bad{number}", "why") for clip in bad if clip not in good]
            made = rows(*good, key=f"k{number}", seed=number, spec=spec, failures=failures)
            shard = write(folder / f"shard-{number}.h5", made, spec)
            finalize(folder / "t.h5", spec, [shard], ())
            for position, clip in enumerate(good):
                failing.pop(clip, None)
                expected[clip] = (f"k{number}{clip}", made.pooled[pooling][position])
                frames[clip] = made.frames and made.frames[position]
            failing |= {clip: (key, why) for clip, key, why in failures}
    finally:
        merging.COPY_BYTES = before
    table = verify_table(folder / "t.h5")
    assert dict(zip(table.ids, table.keys, strict=True)) == {clip: key for clip, (key, _) in expected.items()}
    assert table.failures == failing
    for clip, values in by_id(table, pooling).items():
        np.testing.assert_array_equal(values, expected[clip][1])
        if with_frames:
            np.testing.assert_array_equal(table.frames(clip), frames[clip])


def test_costs_add_up_over_shards(tmp_path):
    cost = {"clips": 1, "audio_s": 2.0, "compute_s": 3.0}
    shards = [write(tmp_path / f"{n}.h5", rows(n), cost=cost) for n in "abc"]
    finalize(tmp_path / "t.h5", SPEC, shards, ())
    assert open_table(tmp_path / "t.h5").cost.items() >= {"clips": 3, "audio_s": 6.0, "compute_s": 9.0}.items()


def test_a_damaged_shard_is_named_and_nothing_changes(tmp_path):
    shards = [write(tmp_path / f"{n}.h5", rows(n)) for n in "ab"]
    finalize(tmp_path / "t.h5", SPEC, shards[:1], ())
    before = (tmp_path / "t.h5").read_bytes()
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    with pytest.raises(CacheError, match="damaged") as error:
        finalize(tmp_path / "t.h5", SPEC, shards[1:], ())
    assert error.value.path == shards[1]
    assert (tmp_path / "t.h5").read_bytes() == before


def test_an_unreadable_new_file_never_replaces_the_old(tmp_path, monkeypatch):
    shards = [write(tmp_path / f"{n}.h5", rows(n)) for n in "ab"]
    finalize(tmp_path / "t.h5", SPEC, shards[:1], ())
    before = (tmp_path / "t.h5").read_bytes()
    monkeypatch.setattr(header, "make_header", lambda path, bulk, right=header.make_header: right(path, bulk)[::-1])
    monkeypatch.setattr(store.header, "is_whole", lambda path: path.suffix != ".tmp")
    with pytest.raises(CacheError, match="damaged"):
        finalize(tmp_path / "t.h5", SPEC, shards[1:], ())
    monkeypatch.undo()
    assert (tmp_path / "t.h5").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5", "t.h5"]
