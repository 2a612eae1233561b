"""Unusable clips are recorded with a reason, the run continues, and repaired clips are tried again."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from features import backbones
from features.errors import RunError
from features.extract import extract
from features.planning.settings import Settings
from features.pooling import Frames
from features.store.verify import verify_table
from tests.features.toys import NAMES, RATE, Toy, noise, rows_of


def spoiled(root: Path) -> dict[str, str]:
    """Write bad clips and return name -> part of the expected reason."""
    root.mkdir(exist_ok=True)
    nan, infinite = noise(4000), noise(4000)
    nan[7], infinite[9] = np.nan, -np.inf
    sf.write(root / "nan.wav", nan, RATE, subtype="FLOAT")
    sf.write(root / "inf.wav", infinite, RATE, subtype="FLOAT")
    sf.write(root / "nothing.wav", np.zeros(0), RATE)
    (root / "empty.wav").touch()
    (root / "corrupt.wav").write_bytes(np.random.default_rng(0).bytes(999))
    (root / "link.wav").symlink_to("nowhere")
    (root / "folder.wav").mkdir()
    for form in ("wav", "flac", "mp3"):
        sf.write(root / f"cut.{form}", noise(44100 * 2), 44100, format=form)
        whole = (root / f"cut.{form}").read_bytes()
        (root / f"cut.{form}").write_bytes(whole[: len(whole) // 2])
    return {
        "nan.wav": "1 samples are NaN",
        "inf.wav": "1 samples are NaN or inf",
        "nothing.wav": "no samples",
        "empty.wav": "is empty",
        "corrupt.wav": "cannot be decoded",
        "link.wav": "dangling link",
        "folder.wav": "is a directory",
        "missing.wav": "not found",
        "cut.wav": "cut short",
        "cut.flac": "cannot be decoded",
        "cut.mp3": "cut short",
    }


def test_bad_clips_are_recorded_with_their_reasons_and_the_others_embedded(corpus):
    odd = {
        "silent.wav": dict(samples=np.zeros(RATE)),
        "one sample.wav": dict(samples=np.array([0.5])),
        "eight.wav": dict(samples=noise(2000, channels=8)),
        "192k.wav": dict(samples=noise(19200), rate=192_000),
        "8 bit.wav": dict(samples=noise(2000), subtype="PCM_U8"),
        "float64.wav": dict(samples=noise(2000).astype("f8"), subtype="DOUBLE"),
        "beyond one.wav": dict(samples=noise(2000) * 9, subtype="FLOAT"),
        "ogg.wav": dict(samples=noise(8000), format="OGG", subtype="VORBIS"),
        "ü 日本/x y.flac": dict(samples=noise(2000)),
        **{f"{n}.wav": dict(samples=noise(2000, n)) for n in range(4)},
    }
    for name, options in odd.items():
        corpus.write(name, **options)
    reasons = spoiled(corpus.root)
    manifest = corpus.manifest(*odd, *reasons)
    spec = backbones.describe({"name": "mfcc"})

    def load():
        corpus.loads += 1
        return backbones.load({"name": "mfcc"})

    first = extract(manifest, spec, load, Settings(block_rows=5), corpus.cache, corpus.log)
    assert corpus.loads == 1
    table = verify_table(first.path)
    assert set(table.ids) == set(odd)
    assert np.isfinite(table.embeddings("mean")).all()
    assert set(table.failures) == set(first.failures) == set(reasons)
    for clip, reason in reasons.items():
        assert reason in first.failures[clip]
        assert "\n" not in first.failures[clip]
    before = first.path.read_bytes()
    second = extract(manifest, spec, load, Settings(block_rows=5), corpus.cache, corpus.log)
    assert (corpus.loads, second.computed, second.failures) == (1, 0, first.failures)
    assert first.path.read_bytes() == before


def test_a_repaired_file_is_computed(seven):
    (seven.root / NAMES[2]).write_bytes(b"no audio")
    manifest = seven.manifest(*NAMES)
    assert list(seven.run(manifest).failures) == [NAMES[2]]
    seven.write(NAMES[2])
    summary = seven.run(manifest)
    assert (summary.computed, summary.reused, summary.failures) == (1, 6, {})
    table = verify_table(summary.path)
    assert (set(table.ids), table.failures) == (set(NAMES), {})


@pytest.mark.parametrize("loss", ["deleted", "spoiled"])
def test_a_file_lost_later_keeps_its_row_and_is_a_failure(seven, loss):
    manifest = seven.manifest(*NAMES)
    before = rows_of(seven.run(manifest).path)
    path = seven.root / NAMES[2]
    whole = path.read_bytes()
    path.unlink()
    if loss == "spoiled":
        sf.write(path, np.full(500, np.nan, "f4"), RATE, subtype="FLOAT")
    summary = seven.run(manifest)
    assert list(summary.failures) == [NAMES[2]]
    assert summary.reused == 6
    np.testing.assert_array_equal(rows_of(summary.path)[NAMES[2]], before[NAMES[2]])
    assert seven.rerun(manifest).failures == summary.failures
    path.write_bytes(whole)
    assert seven.rerun(manifest).failures == {}


def test_another_reason_for_the_same_clip_is_recorded(seven):
    manifest = seven.manifest(*NAMES)
    (seven.root / NAMES[0]).unlink()
    assert seven.run(manifest).failures == {NAMES[0]: "file not found"}
    (seven.root / NAMES[0]).touch()
    assert seven.rerun(manifest).failures == {NAMES[0]: "file is empty (0 bytes)"}


class Meddling(Toy):
    """Changes a file while the first batch is in the model."""

    meddle = staticmethod(lambda: None)

    def forward(self, waveforms, lengths):
        type(self).meddle()
        return super().forward(waveforms, lengths)


@pytest.mark.parametrize("how", ["touched", "gone and back"])
def test_a_file_that_changes_under_the_run_is_tried_again_by_the_next(seven, how):
    victim = seven.root / NAMES[0]  # the shortest: last in the plan

    def meddle():
        victim.rename(seven.root / "away") if how != "touched" and victim.exists() else None
        os.utime(seven.root / "away" if how != "touched" else victim, ns=(1, 1))

    seven.backbone = type("Once", (Meddling,), {"meddle": staticmethod(meddle)})
    summary = seven.run(seven.manifest(*NAMES), block_rows=1, workers=1)
    assert list(summary.failures) == [NAMES[0]]
    if how != "touched":
        (seven.root / "away").rename(victim)
    seven.backbone = Toy
    again = seven.run(seven.manifest(*NAMES))
    assert (again.computed, again.reused, again.failures) == (1, 6, {})


class Infinite(Toy):
    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        frames.values[lengths == 800 + 300 * 2] = float("inf")
        return frames


def test_an_embedding_that_is_not_finite_is_a_failure(seven):
    seven.backbone = Infinite
    summary = seven.run(seven.manifest(*NAMES))
    assert summary.failures == {NAMES[2]: "its embedding is not finite"}
    assert set(rows_of(summary.path)) == set(NAMES) - {NAMES[2]}
    assert seven.rerun(seven.manifest(*NAMES)).failures == summary.failures


@pytest.mark.parametrize("bad", [b"", b"RIFF"])
def test_more_than_half_unreadable_is_an_error_before_any_work(seven, bad):
    path = seven.run(seven.manifest(*NAMES[:2])).path
    before = path.read_bytes()
    for name in NAMES[3:]:
        (seven.root / name).write_bytes(bad)
    with pytest.raises(RunError, match=r"birds: 4 of 7 clips cannot be used, first '3.wav': .*dataset.root"):
        seven.rerun(seven.manifest(*NAMES))
    assert path.read_bytes() == before


def test_more_than_half_undecodable_is_an_error_that_loses_nothing(seven):
    for name in NAMES[3:]:
        seven.write(name, np.full(500, np.nan, "f4"), subtype="FLOAT")
    with pytest.raises(RunError, match=r"4 of 7 clips cannot be used"):
        seven.run(seven.manifest(*NAMES))
    assert set(rows_of(seven.file())) == set(NAMES[:3])
    with pytest.raises(RunError, match=r"4 of 7 clips cannot be used"):
        seven.rerun(seven.manifest(*NAMES))
    seven.write(NAMES[3])
    assert seven.run(seven.manifest(*NAMES)).computed == 1


class Loud(Toy):
    """Frames of one clip exceed what float16 holds, but not float32; those of another overflow only when squared."""

    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        frames.values[lengths == 800 + 300 * 2] += 7e4
        frames.values[lengths == 800 + 300 * 3] *= 1e25
        return frames


def test_frames_too_large_for_float16_fail_with_that_reason_and_float32_stores_them(seven):
    seven.backbone = Loud
    how = {"pooling": ("mean", "frames")}
    summary = seven.run(seven.manifest(*NAMES), **how, frame_dtype="float16")
    reason = "its frames exceed 65504, the largest float16; set features.frame_dtype to float32"
    assert summary.failures == {NAMES[2]: reason, NAMES[3]: reason}
    table = verify_table(summary.path)
    assert all(np.isfinite(table.frames(name)).all() for name in table.ids)
    assert seven.rerun(seven.manifest(*NAMES), **how, frame_dtype="float16").failures == summary.failures
    with pytest.raises(RunError, match=f"{reason}$"):  # no other advice
        seven.run(seven.manifest(*NAMES[2:4]), **how, frame_dtype="float16")
    assert seven.run(seven.manifest(*NAMES), **how).failures == {}


def test_vectors_too_large_for_float16_fail_with_that_reason_and_float32_stores_them(seven):
    seven.backbone = Loud
    how = {"pooling": ("mean", "max")}
    summary = seven.run(seven.manifest(*NAMES), **how, dtype="float16")
    reason = "values of its mean exceed 65504, the largest float16; set features.dtype to float32"
    assert summary.failures == {NAMES[2]: reason, NAMES[3]: reason}
    exact = seven.run(seven.manifest(*NAMES), **how)
    assert (exact.failures, exact.rounding_error) == ({}, None)
    rounded, vectors = rows_of(summary.path), rows_of(exact.path)
    errors = [np.linalg.norm(rounded[c] - vectors[c], axis=1) / np.linalg.norm(vectors[c], axis=1) for c in rounded]
    assert 0 < np.max(errors) <= summary.rounding_error < 2**-11
    for clip, vector in rounded.items():
        np.testing.assert_array_equal(vector, vectors[clip].astype(np.float16).astype(np.float32))


def test_the_rounding_error_of_a_cache_is_the_largest_of_all_runs(seven):
    first = seven.run(seven.manifest(*NAMES[:4]), dtype="float16", block_rows=2)
    both = seven.run(seven.manifest(*NAMES), dtype="float16", block_rows=2)
    errors = {
        clip: np.linalg.norm(exact.astype("f2").astype("f4") - exact, axis=1) / np.linalg.norm(exact, axis=1)
        for clip, exact in rows_of(seven.run(seven.manifest(*NAMES)).path).items()
    }
    assert first.rounding_error == pytest.approx(np.max([errors[clip] for clip in NAMES[:4]]))
    assert both.rounding_error == pytest.approx(np.max(list(errors.values())))


def test_padding_that_is_too_large_for_float16_does_not_count(seven):
    class LoudPadding(Toy):
        def forward(self, waveforms, lengths):
            frames = super().forward(waveforms, lengths)
            frames.values[~frames.mask()[:, None, :, None].expand_as(frames.values)] = 7e4
            return frames

    seven.backbone = LoudPadding
    assert seven.run(seven.manifest(*NAMES), pooling=("frames",), frame_dtype="float16").failures == {}


def test_a_long_clip_too_large_for_float16_in_one_window_fails(corpus):
    class LoudOnce(Toy):
        def forward(self, waveforms, lengths):
            frames = super().forward(waveforms, lengths)
            return Frames(frames.values + (7e4 if int(lengths[0]) < 40_000 else 0), frames.lengths)

    corpus.write("long.wav", noise(100_000))
    corpus.write("short.wav", noise(50_000))
    corpus.backbone = LoudOnce
    summary = corpus.run(corpus.manifest("long.wav", "short.wav"), pooling=("frames",), frame_dtype="float16")
    assert list(summary.failures) == ["long.wav"]
    assert "its frames exceed 65504" in summary.failures["long.wav"]


def test_whatever_is_stored_is_finite_not_only_the_mean(seven):
    seven.backbone = Loud
    summary = seven.run(seven.manifest(*NAMES), pooling=("mean", "std", "max"))
    assert summary.failures == {NAMES[3]: "the std of its frames is not finite"}
