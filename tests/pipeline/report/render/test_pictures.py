"""Pictures of clips: what their columns and bands mean, and which clips have one."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from features.audio.decoding import Waveform
from pipeline.report.render import pictures
from pipeline.report.render.picture_store import COLUMNS, FILE
from pipeline.report.render.pictures import BANDS, LEVELS, envelope, log_mel, most_difficult, picture_of
from pipeline.report.section import build, clips_of
from pipeline.report.sections import SECTIONS
from pipeline.report.study import gather
from tests.pipeline.report.toy_studies import random_study

RATE = 16_000


def tone(pitch_hz, seconds=1.0, rate=RATE):
    return (0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def test_the_envelope_shows_when_a_sound_is_loud():
    samples = np.concatenate([tone(440), 0.5 * tone(440), np.zeros(2 * RATE, np.float32)])
    levels = [LEVELS.index(letter) for letter in envelope(samples)]
    assert len(levels) == COLUMNS
    assert levels[:30] == [63] * 30 and set(levels[34:62]) <= {31, 32} and levels[66:] == [0] * 62


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 192_000])
def test_a_higher_tone_is_in_a_higher_band(rate):
    bands = [log_mel(tone(pitch, rate=rate), rate).mean(axis=1).argmax() for pitch in (200, 800, 3000)]
    assert bands == sorted(set(bands))


def test_the_spectrogram_runs_from_left_to_right_and_from_low_to_high():
    low_then_high = np.concatenate([tone(300), tone(3000)])
    found = Image.open(io.BytesIO(base64.b64decode(picture_of(Waveform(low_then_high, RATE))[1])))
    assert found.size == (COLUMNS, BANDS)
    grey = np.asarray(found.convert("L"))
    first, second = grey[:, : COLUMNS // 2].mean(axis=1).argmax(), grey[:, COLUMNS // 2 :].mean(axis=1).argmax()
    assert first > second  # rows run from the top


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.zeros(0), np.ones(1), np.zeros(7)])
def test_silence_and_very_short_clips_have_a_picture(samples):
    levels, spectrogram = picture_of(Waveform(samples.astype(np.float32), RATE))
    assert len(levels) == COLUMNS and base64.b64decode(spectrogram)[8:12] == b"WEBP"


def test_the_most_difficult_clips_have_pictures_if_there_are_too_many(tmp_path):
    study = random_study(60, 4, 2, folder=tmp_path)
    clips = clips_of(build(study, SECTIONS))
    hardest = most_difficult(study, clips, 10)
    means = np.mean([model.outcomes.difficulty for model in study.models], axis=0)
    assert len(hardest) == 10 and sorted(hardest) == hardest.tolist()
    assert means[hardest].min() >= np.delete(means, hardest).max()
    assert most_difficult(study, clips, 60).tolist() == clips.tolist()


def test_clips_without_audio_have_no_picture(tmp_path):
    study = random_study(8, 2, 2, folder=tmp_path, root=tmp_path)
    assert pictures.pictures_of(study, np.arange(8)) == [None] * 8


@pytest.mark.e2e
def test_pictures_are_drawn_once_and_only_valid_ones_are_shown(hostile, monkeypatch):
    study = gather(hostile)
    clips = np.arange(6)
    (hostile.run_dir / FILE).unlink(missing_ok=True)
    first = pictures.pictures_of(study, clips)
    assert all(first)
    decoded = []
    monkeypatch.setattr(pictures, "decoded", lambda clip, right=pictures.decoded: decoded.append(clip) or right(clip))
    assert pictures.pictures_of(study, clips) == first and not decoded
    stored = json.loads((hostile.run_dir / FILE).read_text())
    envelope, spectrogram = next(iter(stored["pictures"].values()))
    stored["pictures"] = dict(zip(stored["pictures"], [["<b>", spectrogram], [envelope, "a<b"], 1], strict=False))
    (hostile.run_dir / FILE).write_text(json.dumps(stored))
    assert pictures.pictures_of(study, clips) == first and len(decoded) == 6
    (hostile.run_dir / FILE).write_text("no JSON")
    assert pictures.pictures_of(study, clips) == first
