"""Resampling on the device: clips are independent, close to soxr's result, and have separate caches."""

import numpy as np
import pytest
import soundfile as sf
import torch

from features.audio.decoding import Waveform, read_waveform, resampled_length
from features.inference.device_resampling import batch_on_device
from features.inference.device_transfer import ToDevice
from features.store.verify import verify_table
from tests.features.toys import NAMES, noise, rows_of


def tone(rate, seconds, hertz=440.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def batch(*clips, to=16_000, min_samples=1):
    return batch_on_device(clips, min_samples, to, ToDevice(torch.device("cpu")))


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_it_is_close_to_soxr_and_of_the_same_length(rate, tmp_path):
    sf.write(tmp_path / "tone.wav", 0.5 * tone(rate, 1.0), rate, subtype="FLOAT")
    expected = read_waveform(tmp_path / "tone.wav", 16_000).samples
    waveforms, lengths = batch(read_waveform(tmp_path / "tone.wav", None))
    assert lengths.tolist() == [len(expected)] == [resampled_length(rate, rate, 16_000)]
    middle = slice(2000, -2000)
    np.testing.assert_allclose(waveforms[0].numpy()[middle], expected[middle], atol=1e-3)


def test_clips_are_independent():
    clips = [Waveform(noise(3000, 1), 44_100), Waveform(noise(9000, 2), 44_100), Waveform(noise(500, 3), 8000)]
    together, lengths = batch(*clips, Waveform(noise(700, 4), 16_000))
    for at, clip in enumerate(clips):
        alone, (length,) = batch(clip)
        assert lengths[at] == length
        np.testing.assert_allclose(together[at, :length], alone[0, :length], atol=1e-6)
        assert not together[at, length:].any()
    np.testing.assert_array_equal(together[3, :700], noise(700, 4))


def test_short_clips_are_padded():
    assert batch(Waveform(noise(10), 16_000), min_samples=80)[1].tolist() == [80]


def test_a_run_has_its_own_cache_and_the_same_clips(seven):
    for number, name in enumerate(NAMES[:4]):
        seven.write(name, 0.5 * tone(44_100, 0.3 + 0.1 * number), 44_100)
    plain = seven.run(seven.manifest(*NAMES))
    there = seven.run(seven.manifest(*NAMES), resample="device")
    assert there.path != plain.path
    assert there.computed == 7
    one, other = rows_of(plain.path), rows_of(there.path)
    for name in NAMES:
        np.testing.assert_allclose(other[name], one[name], atol=0.02)
    np.testing.assert_array_equal(one[NAMES[6]], other[NAMES[6]])  # already at the model's rate
    assert verify_table(there.path).cache_spec["audio"]["resampler"].startswith("torchaudio")
