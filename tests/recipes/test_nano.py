"""The pretraining recipe: its clips, its batches, and a run that is stopped and goes on."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from features.backbones import load
from features.datasets.synthesis.sounds import SOUNDS
from recipes.nano import clips, export, probe, train
from recipes.nano.events import EVENTS
from recipes.nano.objectives import contrast, frames_in, span_mask, spectra, teacher_distance
from recipes.nano.student import Student, Training, standardized
from recipes.nano.teaching import CLIP_SAMPLES, SHARD, Corpus, Shards, student_windows
from tests.paths import SHARED

pytestmark = pytest.mark.e2e  # runs whole experiments

YAMNET = SHARED / "weights" / "yamnet.tflite"
SHORT = ["--objectives", "contrast", "spectra", "--batch", "2", "--epoch-steps", "2", "--held-out", "1"]
SHORT += ["--workers", "0", "--device", "cpu", "--steps", "4"]


@pytest.mark.parametrize("family", EVENTS)
def test_events_are_finite_seeded_and_none_of_the_data_sets(family: str) -> None:
    def render(what: int, how: int) -> np.ndarray:
        return EVENTS[family](np.random.default_rng(what), np.random.default_rng(how), 8000, clips.SAMPLE_RATE)

    sound = render(1, 2)
    assert sound.shape == (8000,) and np.isfinite(sound).all() and sound.std() > 0
    assert np.array_equal(sound, render(1, 2)) and not np.array_equal(sound, render(3, 2))
    assert family not in SOUNDS


def test_clips_are_a_function_of_their_numbers_and_sound_in_range() -> None:
    made = [clips.clip(0, clips.TRAIN, number, CLIP_SAMPLES) for number in range(20)]
    for number, clip in enumerate(made):
        assert clip.dtype == np.float32 and np.isfinite(clip).all() and 0 < np.abs(clip).max() <= 1
        assert np.array_equal(clip, clips.clip(0, clips.TRAIN, number, CLIP_SAMPLES))
    others = [
        clips.clip(0, clips.HELD_OUT, 0, CLIP_SAMPLES),
        clips.clip(1, clips.TRAIN, 0, CLIP_SAMPLES),
        clips.clip(0, clips.TRAIN, 0, CLIP_SAMPLES, rendering=1),
    ]
    assert not any(np.array_equal(one, other) for one in made for other in others)


def test_the_students_windows_are_the_teachers() -> None:
    hidden = torch.arange(96.0)[None, :, None]
    assert student_windows(hidden).flatten().tolist() == [23.5 + 24 * window for window in range(3)]


def test_contrast_is_low_where_recordings_of_one_clip_agree() -> None:
    clip = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    assert contrast(torch.cat([clip, clip])) < contrast(torch.cat([clip, clip.roll(1, 0)])) - 5


def test_standardized_is_what_wav2vec2_expects() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    waves = np.random.default_rng(0).normal(0.1, 0.02, (2, 4000)).astype(np.float32)
    theirs = Wav2Vec2FeatureExtractor(do_normalize=True)(list(waves), sampling_rate=16_000, return_tensors="np")
    assert np.allclose(standardized(torch.from_numpy(waves)), theirs["input_values"], atol=1e-5)


def test_spectra_have_a_frame_for_each_of_the_encoders() -> None:
    seconds = np.arange(CLIP_SAMPLES) / clips.SAMPLE_RATE
    tone = torch.from_numpy(np.sin(2 * np.pi * 1000 * seconds)).float()[None]
    found = spectra(standardized(tone))
    assert found.shape == (1, 96, 80) == (1, frames_in(CLIP_SAMPLES), 80)
    loudest = found[0, :, :40].argmax(dim=1).unique()
    assert len(loudest) == 1 and 10 < loudest.item() < 16  # mel(1000 Hz) lies a third of the way up
    assert found[0, :, 40:].abs().max() < 0.1  # a steady tone does not change


def test_a_constant_answer_is_two_away_from_the_teacher_and_the_right_one_nothing() -> None:
    wanted = torch.randn(4, 3, 1024, generator=torch.Generator().manual_seed(0))
    assert teacher_distance(torch.zeros_like(wanted), wanted).item() == pytest.approx(2)
    assert teacher_distance(wanted, wanted).item() == pytest.approx(0, abs=1e-5)


def test_a_new_student_gives_the_constant_answer() -> None:
    draw = torch.Generator().manual_seed(0)
    batch = {
        "waveforms": torch.randn(4, CLIP_SAMPLES, generator=draw),
        "targets": torch.rand(4, 3, 1024, generator=draw),
    }
    student = Student(Training({"distill": 1, "spectra": 1}, steps=1))
    student.fit_scales([batch])
    losses = student.eval()._losses(student.encoder, student.readers, batch, None)
    assert losses["distill"].item() == pytest.approx(2, abs=1e-3)
    assert 0.5 < losses["spectra"].item() < 1  # of what has unit variance


def test_masks_are_spans_drawn_by_seed_alone() -> None:
    mask = span_mask(64, 96, seed=3)
    assert torch.equal(mask, span_mask(64, 96, seed=3)) and not torch.equal(mask, span_mask(64, 96, seed=4))
    assert 0.1 < mask.float().mean() < 0.25
    starts = mask & ~torch.nn.functional.pad(mask, (1, 0))[:, :-1]
    for row, start in starts.nonzero().tolist():
        assert mask[row, start : start + 10].all()


def test_processes_share_a_batch_and_keep_two_recordings_of_a_clip_together() -> None:
    shard = {"waveforms": torch.arange(SHARD)}
    seen = []
    for part in range(2):
        for rank in range(2):
            rows = train.Share([shard], 2, rank, 2)[0, part]["waveforms"]  # type: ignore[arg-type]
            assert torch.equal(rows[: len(rows) // 2] + SHARD // 2, rows[len(rows) // 2 :])
            seen += rows.tolist()
    assert sorted(seen) == list(range(SHARD))


def test_every_clip_made_comes_back_about_as_often_as_asked_for() -> None:
    order = [train.shard_at(turn, 3, 0) for turn in range(300)]
    assert order == [train.shard_at(turn, 3, 0) for turn in range(300)]
    assert set(order) == set(range(100)) and all(shard <= turn // 3 for turn, shard in enumerate(order))


def test_shards_are_read_back_as_they_were_made_and_never_mixed(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, None, 0)
    corpus.claim()
    made, again = (Shards(corpus, clips.TRAIN)[0]["waveforms"] for _ in range(2))
    assert torch.equal(made, again) and made.shape == (SHARD, CLIP_SAMPLES)
    assert np.allclose(made[17], clips.clip(0, clips.TRAIN, 1, CLIP_SAMPLES, rendering=1), atol=1 / 32_767)
    corpus.claim()
    with pytest.raises(ValueError, match="contains other clips"):
        Corpus(tmp_path, None, 1).claim()


@pytest.mark.skipif(not YAMNET.is_file(), reason="no ../shared/weights/yamnet.tflite beside the checkout")
def test_the_teacher_answers_every_window_and_leaves_the_threads_alone(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    shard = Shards(Corpus(tmp_path, YAMNET, 0), clips.TRAIN)[0]
    assert shard["targets"].shape == (SHARD, 3, 1024) and (shard["targets"] >= 0).all()
    assert torch.get_num_threads() == threads  # training goes on in this process
    alone = load({"name": "yamnet", "weights": str(YAMNET)}).embed([shard["waveforms"][5].numpy()])[0]
    assert np.allclose(shard["targets"][5], alone[0], atol=2e-3)  # kept in half precision


def test_the_model_that_comes_with_the_program_knows_more_words_than_an_untrained_one() -> None:
    made = {"words": probe.tasks(takes=10)["words"]}
    clips_of, labels = made["words"]
    assert len(clips_of) == 100 and [labels.count(label) for label in set(labels)] == [10] * probe.WORDS
    untrained, trained = (probe.accuracies(weights, made)["words"] for weights in ("random", "bundled:wav2vec2-nano"))
    assert len(trained) == 7 and max(trained) > max(untrained) + 0.1


def test_a_stopped_run_goes_on_as_if_it_had_not_been_and_its_model_loads(tmp_path: Path) -> None:
    short = [*SHORT, "--clips", str(tmp_path / "clips")]
    train.main([*short, "--out", str(tmp_path / "whole")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Student, "on_train_batch_start", _stop_in_the_second_epoch)
        with pytest.raises(RuntimeError, match="stopped"):
            train.main([*short, "--out", str(tmp_path / "stopped")])
    train.main([*short, "--out", str(tmp_path / "stopped")])
    files = [tmp_path / run / "checkpoints" / "last.ckpt" for run in ("whole", "stopped")]
    states = [torch.load(file, weights_only=True)["state_dict"] for file in files]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with (tmp_path / "stopped" / "curve.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["step"] for line in lines] == ["2", "4"]
    assert float(lines[0]["seconds"]) < float(lines[1]["seconds"])  # of both starts together
    export.main([str(tmp_path / "whole"), str(tmp_path / "model")])
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 10e6
    backbone = load({"name": "wav2vec2", "weights": str(tmp_path / "model")})
    clip = clips.clip(0, clips.HELD_OUT, 0, CLIP_SAMPLES)
    assert backbone.embed([clip])[0].shape == (7, 96, 192)


def test_a_run_starts_from_another_runs_best_state_and_weighs_what_it_is_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = [*SHORT, "--clips", str(tmp_path / "clips")]
    train.main([*short, "--out", str(tmp_path / "first")])
    second = [*short, "--objectives", "spectra=3", "distill=2", "--start", str(tmp_path / "first")]
    with pytest.raises(SystemExit):
        train.main([*second, "--out", str(tmp_path / "second")])
    assert "needs a yamnet.tflite" in capsys.readouterr().err
    second.remove("distill=2")
    with pytest.raises(SystemExit):
        train.main([*second[:-1], str(tmp_path / "none"), "--out", str(tmp_path / "second")])
    assert "not a finished run" in capsys.readouterr().err
    train.main([*second, "--out", str(tmp_path / "second"), "--learning-rate", "0"])
    before, after = (train.best_state(tmp_path / run) for run in ("first", "second"))
    weights = [name for name in after if ".module." in name and not name.endswith("n_averaged")]
    assert any("readers" in name for name in weights)
    assert all(torch.equal(before[name], after[name]) for name in weights if name in before)
    assert all(torch.equal(before[name], after[name]) for name in ("spectra_mean", "spectra_std"))
    with (tmp_path / "second" / "curve.csv").open() as file:
        for line in csv.DictReader(file):
            assert float(line["valid_loss"]) == pytest.approx(3 * float(line["valid_spectra"]), abs=1e-4)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("distil", "distil: unknown objective, use some of distill, contrast, spectra"),
        ("spectra=much", "spectra=much: the weight should be a number above zero"),
        ("spectra=-1", "spectra=-1: the weight should be a number above zero"),
    ],
)
def test_an_objective_that_is_none_is_refused(
    objective: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train.main(["--clips", str(tmp_path), "--out", str(tmp_path / "run"), "--objectives", objective])
    assert message in capsys.readouterr().err


def _stop_in_the_second_epoch(student: Student, *_: object) -> None:
    if student.global_step == 3:
        raise RuntimeError("stopped")
