"""Stage 1 on a small corpus: stored values, reused clips and recomputed clips."""

import os
import shutil

import numpy as np
import pytest
import soundfile as sf

from features.store.table import open_table
from features.store.verify import verify_table
from tests.features.toys import NAMES, RATE, Toy, noise, rows_of, temporaries, toy_spec


@pytest.mark.parametrize(("block_rows", "batch_s", "workers"), [(1, 1.0, 1), (3, 0.3, 3), (100, 100.0, 2)])
def test_every_clip_is_embedded_as_if_alone(seven, block_rows, batch_s, workers):
    poolings = ("mean", "std", "max", "frames")
    settings = {"block_rows": block_rows, "batch_s": batch_s, "workers": workers}
    summary = seven.run(seven.manifest(*NAMES), pooling=poolings, **settings)
    assert (summary.computed, summary.reused, summary.failures) == (7, 0, {})
    table = verify_table(summary.path)
    toy = Toy(toy_spec())
    for name in NAMES:
        (frames,) = toy.embed([sf.read(seven.root / name, dtype="float32")[0]])
        row = table.rows([name])[0]
        np.testing.assert_array_equal(table.frames(name), frames.transpose(1, 0, 2))
        assert table.n_frames[row] == frames.shape[1]
        assert table.durations_s[row] == pytest.approx(sf.info(seven.root / name).duration)
        for pooling, expected in {"mean": frames.mean(1), "std": frames.std(1), "max": frames.max(1)}.items():
            np.testing.assert_allclose(table.embeddings(pooling)[row], expected, atol=1e-6)
    assert temporaries(seven.cache) == []


def test_a_long_clip_goes_through_in_windows(corpus):
    corpus.write("long.wav", noise(RATE * 25 + 70))
    corpus.write("short.wav", noise(RATE))
    summary = corpus.run(corpus.manifest("long.wav", "short.wav"), pooling=("mean", "std", "max", "frames"))
    table = verify_table(summary.path)
    (frames,) = Toy(toy_spec()).embed([sf.read(corpus.root / "long.wav", dtype="float32")[0]])
    assert frames.shape[1] == 2500, "two whole windows and half of one"
    np.testing.assert_allclose(table.frames("long.wav"), frames.transpose(1, 0, 2), atol=1e-7)
    row = table.rows(["long.wav"])[0]
    np.testing.assert_allclose(table.embeddings("mean")[row], frames.mean(1), atol=1e-5)
    np.testing.assert_allclose(table.embeddings("std")[row], frames.std(1), atol=1e-5)
    np.testing.assert_array_equal(table.embeddings("max")[row], frames.max(1))


def test_a_second_run_reuses_everything_and_loads_no_backbone(seven):
    manifest = seven.manifest(*NAMES)
    first = seven.run(manifest)
    before = first.path.read_bytes()
    second = seven.rerun(manifest)
    assert (second.computed, second.reused) == (0, 7)
    assert first.path.read_bytes() == before


def test_only_new_clips_are_computed_and_no_row_is_lost(seven):
    seven.run(seven.manifest(*NAMES[:4]))
    summary = seven.run(seven.manifest(*NAMES[2:]))
    assert (summary.computed, summary.reused) == (3, 2)
    assert set(rows_of(summary.path)) == set(NAMES)
    assert seven.rerun(seven.manifest(*NAMES)).reused == 7


def test_changed_files_are_computed_again_and_touched_ones_are_not(seven):
    manifest = seven.manifest(*NAMES)
    before = rows_of(seven.run(manifest).path)
    os.utime(seven.root / NAMES[0], ns=(1, 1))
    assert seven.rerun(manifest).reused == 7
    seven.write(NAMES[1], noise(900, seed=99))
    summary = seven.run(manifest)
    assert (summary.computed, summary.reused) == (1, 6)
    after = rows_of(summary.path)
    assert [name for name in NAMES if not np.array_equal(before[name], after[name])] == [NAMES[1]]


def test_the_same_audio_under_another_id_has_its_own_row_and_is_not_computed_again(seven):
    seven.run(seven.manifest(*NAMES))
    shutil.copy(seven.root / NAMES[0], seven.root / "copy.wav")
    summary = seven.rerun(seven.manifest(*NAMES, "copy.wav"))
    assert summary.reused == 8
    rows = rows_of(summary.path)
    np.testing.assert_array_equal(rows["copy.wav"], rows[NAMES[0]])


def test_rehash_finds_what_size_and_time_hide(seven):
    manifest = seven.manifest(*NAMES)
    path = seven.root / NAMES[3]
    stat = path.stat()
    before = rows_of(seven.run(manifest).path)
    seven.write(NAMES[3], noise(800 + 300 * 3, seed=99))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert seven.rerun(manifest).reused == 7
    summary = seven.run(seven.read(*NAMES, rehash=True))
    assert summary.computed == 1
    assert not np.array_equal(rows_of(summary.path)[NAMES[3]], before[NAMES[3]])


def test_limit_only_limits_what_is_computed(seven):
    manifest = seven.manifest(*NAMES)
    first = seven.run(manifest, limit=2)
    assert (first.computed, set(rows_of(first.path))) == (2, set(NAMES[:2]))
    assert seven.run(manifest).computed == 5
    assert seven.rerun(manifest, limit=2).reused == 7


def test_limit_looks_at_the_failures_among_its_own_clips_only(seven):
    for name in NAMES[4:]:
        (seven.root / name).write_bytes(b"")
    assert len(seven.run(seven.manifest(*NAMES)).failures) == 3
    assert seven.rerun(seven.manifest(*NAMES), limit=2).computed == 0


@pytest.mark.parametrize("change", [{"pooling": ("mean", "std")}, {"precision": "bf16"}])
def test_other_settings_make_another_file(seven, change):
    manifest = seven.manifest(*NAMES)
    paths = {seven.run(manifest).path, seven.run(manifest, **change).path}
    assert len(paths) == 2
    assert all(len(verify_table(path)) == 7 for path in paths)


def test_segments_of_one_file_are_rows_of_their_own(corpus):
    corpus.write("a.wav", noise(RATE))
    parts = corpus.manifest("x", "y", path=["a.wav"] * 2, start_s=[0.0, 0.5], duration_s=[0.5, 0.5])
    rows = rows_of(corpus.run(parts).path)
    assert not np.array_equal(rows["x"], rows["y"])
    assert corpus.rerun(parts).reused == 2
    moved = corpus.manifest("x", "y", path=["a.wav"] * 2, start_s=[0.1, 0.5], duration_s=[0.5, 0.5])
    assert corpus.run(moved).computed == 1


def test_open_table_reads_the_finalized_cache(seven):
    summary = seven.run(seven.manifest(*NAMES))
    table = open_table(summary.path)
    assert table.embeddings().shape == (7, 2, 4)
    assert table.cost["clips"] == 7


def test_a_labelled_entry_uses_the_rows_that_another_label_computed(seven):
    """Files of older versions are named after the backbone; entries of several configs can have any label."""
    manifest = seven.manifest(*NAMES)
    first = seven.run(manifest)
    assert first.path.name.startswith("toy-")
    for label in ("mine", "yours"):
        again = seven.rerun(manifest, toy_spec(label=label))
        assert (again.path, again.reused) == (first.path, len(NAMES))
    other = seven.run(manifest, toy_spec(label="mine", settings={"hop": 80, "new": 1}))
    assert other.path.name.startswith("mine-")
    assert other.computed == len(NAMES)
