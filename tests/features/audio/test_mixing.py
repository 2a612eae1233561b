"""Channels are averaged with the bits of numpy's mean."""

import numpy as np
import pytest

from features.audio.mixing import mono
from features.errors import AudioError


@pytest.mark.parametrize("channels", range(1, 10))
@pytest.mark.parametrize("scale", [1.0, 1e-42, 1e37])
def test_a_mix_has_the_bits_of_numpys_mean(channels, scale):
    samples = (scale * np.random.default_rng(0).standard_normal((1001, channels))).astype(np.float32)
    samples[::7] = 0.0
    samples[::11] *= -0.0
    expected = samples.mean(axis=1, dtype=np.float32) if channels > 1 else samples[:, 0]
    mixed = mono(samples)
    assert mixed.flags.c_contiguous
    assert np.array_equal(mixed.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_counted(bad):
    samples = np.zeros((10, 2), np.float32)
    samples[3:5, 1] = bad
    with pytest.raises(AudioError, match=r"^2 samples are NaN or infinite$"):
        mono(samples)
