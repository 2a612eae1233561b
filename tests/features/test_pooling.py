"""Pooling equals numpy on the valid frames for any padding, and windows are joined exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.pooling import POOLINGS, Frames, Moments, pool


@st.composite
def clips(draw, weighted=False):
    counts = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    layers, dim = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offset = draw(st.sampled_from([0.0, -3.0, 50.0]))
    values = [random.normal(offset, 1, (layers, n, dim)).astype("f4") for n in counts]
    weights = [random.uniform(0.1, 1, n).astype("f4") if weighted else np.ones(n, "f4") for n in counts]
    return values, weights


def padded(values, weights=None, filler=1e6, extra=2):
    longest = max(v.shape[1] for v in values) + extra
    batch = torch.full((len(values), values[0].shape[0], longest, values[0].shape[2]), filler)
    weight = torch.full((len(values), longest), filler)
    for row, value in enumerate(values):
        batch[row, :, : value.shape[1]] = torch.from_numpy(value)
        if weights is not None:
            weight[row, : value.shape[1]] = torch.from_numpy(weights[row])
    lengths = torch.tensor([v.shape[1] for v in values])
    return Frames(batch, lengths, None if weights is None else weight)


def expected(value, weight):
    value, weight = value.astype("f8"), weight.astype("f8")
    mean = np.average(value, axis=1, weights=weight)
    std = np.sqrt(np.average((value - mean[:, None]) ** 2, axis=1, weights=weight))
    return {"mean": mean, "std": std, "max": value.max(axis=1)}


def assert_close(ours, theirs):
    for method in POOLINGS:
        np.testing.assert_allclose(ours[method], theirs[method], rtol=1e-5, atol=2e-5, err_msg=method)


@given(clips())
def test_each_clip_is_pooled_over_its_valid_frames(given_clips):
    values, weights = given_clips
    pooled = pool(padded(values), POOLINGS)
    for row, (value, weight) in enumerate(zip(values, weights, strict=True)):
        assert_close({m: pooled[m][row] for m in POOLINGS}, expected(value, weight))


@given(clips(weighted=True))
def test_weights_count_in_mean_and_std_not_in_max(given_clips):
    values, weights = given_clips
    pooled = pool(padded(values, weights), POOLINGS)
    for row, (value, weight) in enumerate(zip(values, weights, strict=True)):
        assert_close({m: pooled[m][row] for m in POOLINGS}, expected(value, weight))


@given(clips(weighted=True), st.randoms(use_true_random=False))
def test_windows_join_to_what_the_whole_clip_gives(given_clips, random):
    values, weights = given_clips
    value, weight = np.concatenate(values, axis=1), np.concatenate(weights)
    cuts = sorted(random.sample(range(1, len(weight)), random.randint(0, min(4, len(weight) - 1))))
    parts = zip(np.split(value, cuts, axis=1), np.split(weight, cuts), strict=True)
    moments = [Moments.of(padded([v], [w]), POOLINGS) for v, w in parts]
    joined = moments[0]
    for part in moments[1:]:
        joined = joined.join(part)
    assert_close({m: joined.pooled(m)[0] for m in POOLINGS}, expected(value, weight))


def test_a_single_frame_has_no_spread():
    assert pool(padded([np.full((1, 1, 3), 7.5, "f4")]), ["std"])["std"].tolist() == [[[0.0, 0.0, 0.0]]]


def test_half_precision_frames_are_pooled_in_float32():
    values = torch.full((1, 1, 5000, 1), 3.0, dtype=torch.bfloat16)
    pooled = pool(Frames(values, torch.tensor([5000])), POOLINGS)
    assert {m: (v.item(), v.dtype) for m, v in pooled.items()} == {
        "mean": (3.0, torch.float32),
        "std": (0.0, torch.float32),
        "max": (3.0, torch.float32),
    }


def test_methods_that_were_not_requested_are_an_error():
    moments = Moments.of(padded([np.ones((1, 2, 1), "f4")]), ["mean"])
    with pytest.raises(ValueError, match="'std' was not requested"):
        moments.pooled("std")
