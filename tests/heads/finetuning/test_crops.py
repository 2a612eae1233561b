"""Crops for training, windows over whole clips for scoring, statistics of training clips."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heads.finetuning.crops import ScoringWindows, band_statistics
from tests.heads.learnables import Stored


def stored(*lengths):
    return Stored([np.arange(n * 2, dtype=np.float32).reshape(n, 2) + 1 for n in lengths])


@given(length=st.integers(1, 200), window=st.integers(1, 60))
def test_windows_cover_every_frame_and_stay_inside(length, window):
    windows = ScoringWindows(stored(length), window, fill=0.0)
    starts = windows.windows_of(0)
    covered = {frame for start in starts for frame in range(start, start + window)}
    assert set(range(length)) <= covered
    assert all(0 <= start <= max(0, length - window) for start in starts)
    assert len(starts) == max(1, -(-length // window))


def test_short_clips_are_padded_with_silence_and_long_ones_cropped():
    windows = ScoringWindows(stored(3, 50), 10, fill=-100.0)
    inputs, lengths = windows.crops([0, 1], np.random.default_rng(0))
    assert inputs.shape == (2, 10, 2)
    assert lengths.tolist() == [3, 10]
    assert (inputs[0, 3:] == -100).all()
    first = int(inputs[1, 0, 0])
    assert torch.equal(inputs[1].flatten(), torch.arange(first, first + 20).float())


def test_silence_can_differ_by_band():
    inputs, _ = ScoringWindows(stored(2), 5, fill=torch.tensor([-1.0, -2.0])).crops([0], np.random.default_rng(0))
    assert inputs[0, 2:].tolist() == [[-1.0, -2.0]] * 3


def test_crops_depend_on_the_generator_alone():
    windows = ScoringWindows(stored(100, 90, 80), 10, fill=0.0)
    one, other = (windows.crops([0, 1, 2], np.random.default_rng(5))[0] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, windows.crops([0, 1, 2], np.random.default_rng(6))[0])


@pytest.mark.parametrize(("fixed", "width"), [(True, 20), (False, 8)])
def test_inputs_are_as_wide_as_the_model_asks(fixed, width):
    windows = ScoringWindows(stored(3, 7), 20, fill=0.0, fixed=fixed, shortest=8)
    inputs, lengths = windows.crops([0, 1], np.random.default_rng(0))
    assert inputs.shape[1] == width
    assert lengths.tolist() == [8, 8]


def test_scoring_windows_know_their_clip():
    windows = ScoringWindows(stored(25, 5, 40), 10, fill=0.0)
    owners = torch.cat([owner for _, _, owner in windows.covering([2, 0], batch_size=3)])
    assert owners.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_statistics_are_those_of_the_given_clips():
    frames = stored(30, 7, 500)
    frames.arrays[1][:, 1] = 4.0
    frames.arrays[0][:, 1] = 4.0
    mean, deviation = band_statistics(frames, [0, 1])
    values = np.concatenate(frames.arrays[:2])
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation[0], values[:, 0].std(), rtol=1e-6)
    assert torch.isinf(deviation[1])  # a band that never changes becomes zero everywhere
    assert set(frames.reads) == {0, 1}
