"""Every form in which Python code has audio."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from audioheads.recordings import is_one, read_recordings
from features.audio import Waveform, read_waveform
from features.errors import AudioError

WAVE = np.linspace(-0.5, 0.5, 100, dtype=np.float32)


def as_bytes(values, rate):
    file = io.BytesIO()
    sf.write(file, values, rate, "FLOAT", format="WAV")
    return file.getvalue()


class Dataset:
    """As much of `datasets.Dataset` as is read."""

    def __init__(self, rows):
        self.rows, self.column_names = rows, list(rows[0])

    def __getitem__(self, name):
        return [row[name] for row in self.rows]


@pytest.mark.parametrize(
    "given",
    [
        (8000, WAVE),
        (WAVE, 8000),
        (np.int64(8000), WAVE),
        (8000.0, torch.from_numpy(WAVE)),
        (8000, WAVE.tolist()),
        {"array": WAVE, "sampling_rate": 8000},
        {"path": None, "bytes": as_bytes(WAVE, 8000)},
        SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=torch.from_numpy(WAVE[None]), sample_rate=8000)),
    ],
)
def test_one_waveform_with_its_rate(given):
    (found,) = read_recordings(given)
    assert isinstance(found, Waveform)
    assert found.sample_rate == 8000
    assert found.samples.dtype == np.float32
    np.testing.assert_array_equal(found.samples, WAVE)
    assert is_one(given)
    assert [one.sample_rate for one in read_recordings([given, given])] == [8000, 8000]


@pytest.mark.parametrize("given", ["a.wav", Path("a.wav"), {"path": "a.wav", "bytes": None}])
def test_a_lone_path_is_one_file(given):
    assert is_one(given)
    assert read_recordings(given) == [Path("a.wav")]


@pytest.mark.parametrize(
    "given",
    [
        ["a.wav", Path("b.wav")],
        ("a.wav", "b.wav"),
        np.array(["a.wav", "b.wav"]),
        pd.Series(["a.wav", "b.wav"], index=[7, 3]),
        pd.DataFrame({"label": [1, 2], "path": ["a.wav", "b.wav"]}),
        Dataset([{"label": 0, "audio": {"path": "a.wav", "bytes": None}}, {"label": 1, "audio": {"path": "b.wav"}}]),
        iter(["a.wav", "b.wav"]),
    ],
)
def test_several_files(given):
    assert read_recordings(given) == [Path("a.wav"), Path("b.wav")]


def test_arrays_without_a_rate_get_the_given_one():
    assert [one.sample_rate for one in read_recordings([WAVE, torch.from_numpy(WAVE)], 16_000)] == [16_000, 16_000]
    assert [len(one.samples) for one in read_recordings(np.stack([WAVE, WAVE]), 16_000)] == [100, 100]
    assert len(read_recordings(WAVE, 16_000)) == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([-32768, 0, 16384], np.int16), [-1, 0, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-(2**31), 2**30], np.int32), [-1, 0.5]),
        (np.array([0.25], np.float64), [0.25]),
    ],
)
def test_whole_numbers_are_fractions_of_full_scale(values, expected):
    (found,) = read_recordings((8000, values))
    np.testing.assert_array_equal(found.samples, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (WAVE, ValueError, "the input is an array without a sample rate"),
        ([WAVE], ValueError, "item 0 is an array without a sample rate"),
        (["a.wav", 3], TypeError, "item 1 is of type int"),
        (3, TypeError, "expected recordings, got int"),
        ({"array": WAVE}, ValueError, "`array` but no `sampling_rate`"),
        ({"sound": 1}, TypeError, "dict with sound; it needs `array` and `sampling_rate`, or `path`"),
        ((8000, np.zeros((2, 50))), ValueError, r"shape \(2, 50\); a recording is mono"),
        ((8000, []), ValueError, "has no samples"),
        ((0, WAVE), ValueError, "sample rate 0"),
        ({"array": WAVE, "sampling_rate": 8000.5}, ValueError, "sample rate 8000.5"),
        ((8000, np.array(["x"])), TypeError, "not numbers"),
        (pd.DataFrame({"file": ["a.wav"]}), TypeError, "no column `audio` or `path`; it has file"),
    ],
)
def test_other_forms_are_named(given, error, message):
    with pytest.raises(error, match=message):
        read_recordings(given)


def test_bytes_of_any_format_are_decoded_as_files_are(tmp_path):
    stereo = np.stack([WAVE, WAVE / 2], axis=1)
    path = tmp_path / "a.flac"
    sf.write(path, stereo, 22_050)
    (found,) = read_recordings({"path": "a.flac", "bytes": path.read_bytes()})
    assert found.sample_rate == 22_050
    np.testing.assert_array_equal(found.samples, read_waveform(path, None).samples)
    with pytest.raises(AudioError, match="item 1: "):
        read_recordings([(8000, WAVE), {"bytes": b"no audio", "path": None}])
