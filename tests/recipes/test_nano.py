"""The pretraining recipe: its clips, its batches, and a run that is stopped and goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from features.backbones import load
from features.datasets.sounds import SOUNDS
from recipes.nano import clips, export, train
from recipes.nano.events import EVENTS
from recipes.nano.student import Student, contrast, standardized
from recipes.nano.teaching import CLIP_SAMPLES, student_windows

SHORT = ["--objective", "contrast", "--batch", "2", "--epoch-steps", "2", "--workers", "0", "--device", "cpu"]


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


def test_a_stopped_run_goes_on_as_if_it_had_not_been_and_its_model_loads(tmp_path: Path) -> None:
    train.main([*SHORT, "--out", str(tmp_path / "whole"), "--steps", "4"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Student, "on_train_batch_start", _stop_in_the_second_epoch)
        with pytest.raises(RuntimeError, match="stopped"):
            train.main([*SHORT, "--out", str(tmp_path / "stopped"), "--steps", "4"])
    train.main([*SHORT, "--out", str(tmp_path / "stopped"), "--steps", "4"])
    files = [tmp_path / run / "checkpoints" / "last.ckpt" for run in ("whole", "stopped")]
    states = [torch.load(file, weights_only=True)["state_dict"] for file in files]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    export.main([str(tmp_path / "whole"), str(tmp_path / "model")])
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 10e6
    backbone = load({"name": "wav2vec2", "weights": str(tmp_path / "model")})
    clip = clips.clip(0, clips.HELD_OUT, 0, CLIP_SAMPLES)
    assert backbone.embed([clip])[0].shape == (7, 96, 192)


def _stop_in_the_second_epoch(student: Student, *_: object) -> None:
    if student.global_step == 3:
        raise RuntimeError("stopped")
