"""Log-mels: the values of torchaudio's, framed so that windows join."""

import numpy as np
import pytest
import torch

from features.backbones import load, parse_options
from features.errors import ConfigError

N_FFT, HOP = 2048, 640


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).uniform(-0.5, 0.5, 3 * 22_050).astype(np.float32)


def test_power_equals_torchaudio_frame_by_frame(samples):
    from torchaudio.transforms import MelSpectrogram

    ours = load({"name": "logmel", "scale": "power"}).embed([samples])[0][0]
    before = (N_FFT - HOP) // 2  # zeros that the first frame sees
    padded = np.pad(samples, (before, N_FFT))
    theirs = MelSpectrogram(22_050, n_fft=N_FFT, hop_length=HOP, n_mels=128, center=False)(torch.from_numpy(padded)).T
    assert ours.shape == (-(-len(samples) // HOP), 128)
    np.testing.assert_allclose(ours, theirs[: len(ours)], rtol=1e-3, atol=1e-4 * float(theirs.max()))


def test_log_is_decibels_with_a_floor(samples):
    power = load({"name": "logmel", "scale": "power"}).embed([samples])[0]
    log = load({"name": "logmel"}).embed([samples, np.zeros(5000, np.float32)])
    np.testing.assert_allclose(log[0], 10 * np.log10(np.maximum(power, 1e-10)), atol=1e-3)
    assert (log[1] == -100).all()


@pytest.mark.parametrize(
    "options", [{"hop_length": 4096}, {"f_max_hz": 20_000.0}, {"f_min_hz": 5000.0, "f_max_hz": 100.0}]
)
def test_settings_that_do_not_go_together_are_refused(options):
    with pytest.raises(ConfigError, match="should"):
        parse_options({"name": "logmel", **options})
