"""The jackknife over groups and the intervals from it."""

import numpy as np
import pytest

from heads.evaluation.jackknife import (
    BLOCKS,
    Replicates,
    block_weights,
    concordance_interval,
    freedom_of,
    share_interval,
    to_z,
    worth_of,
)


def replicates(value, error, n=10, bias=0.0):
    """Ten replicates with this jackknife error and bias, without skewness."""
    offsets = np.tile([-1.0, 1.0], n // 2)
    return Replicates(value, value + bias / (n - 1) + offsets * error / np.sqrt(n - 1), n - 1)


def test_error_and_bias_are_those_of_a_mean_and_of_a_variance():
    values = np.random.default_rng(0).normal(size=20)
    without = np.array([np.delete(values, at).mean() for at in range(20)])
    mean = Replicates(values.mean(), without, 19)
    assert mean.error == pytest.approx(values.std(ddof=1) / np.sqrt(20))
    assert mean.bias == pytest.approx(0)
    without = np.array([np.delete(values, at).var() for at in range(20)])
    variance = Replicates(values.var(), without, 19)
    assert variance.value - variance.bias == pytest.approx(values.var(ddof=1))


def test_many_groups_are_left_out_in_blocks_that_hold_each_once():
    weights = block_weights(250)
    assert weights.shape == (BLOCKS, 250)
    assert np.array_equal((1 - weights).sum(axis=0), np.ones(250))
    assert np.array_equal(block_weights(7), 1 - np.eye(7))


def test_blocks_give_the_error_of_single_groups():
    values = np.random.default_rng(0).exponential(size=2000)
    weights = block_weights(2000)
    blocks = Replicates(values.mean(), weights @ values / weights.sum(axis=1), BLOCKS - 1)
    assert blocks.error == pytest.approx(values.std() / np.sqrt(2000), rel=0.2)


def test_unequal_groups_count_as_fewer():
    assert freedom_of(np.full(12, 5)) == 11
    assert freedom_of(np.array([100, 1, 1, 1])) == 1
    assert worth_of(np.full((10, 5), 3.0)) == pytest.approx(50)
    assert worth_of(np.array([[9.0, 1.0], [0.0, 1.0]])) == pytest.approx(2**2 / (1 / 1 + 1 / 2))


# Wilson's ends for 10 groups, worked out by hand: 0.7 ± 2.262 · error, in the limit.
@pytest.mark.parametrize(("error", "low"), [(0.001, 0.698), (0.01, 0.676), (0.02, 0.652)])
def test_the_lower_end_is_wilsons_for_the_error(error, low):
    assert share_interval(replicates(0.7, error), 50)[0] == pytest.approx(low, abs=0.003)


def test_few_errors_move_the_lower_end_towards_that_of_a_perfect_score():
    perfect = share_interval(replicates(1.0, 0.0), 50)
    assert perfect == (pytest.approx(50 / (50 + 1.96**2), abs=1e-3), 1.0)
    one_error = share_interval(replicates(0.999, 0.001), 50)[0]
    many_errors = share_interval(replicates(0.999, 0.0002), 50)[0]
    assert perfect[0] - 0.01 < one_error < many_errors - 0.01 and many_errors > 0.997


def test_bias_moves_one_end_only():
    plain, high, low = (share_interval(replicates(0.7, 0.02, bias=bias), 50) for bias in (0, 0.01, -0.01))
    assert high == (pytest.approx(plain[0] - 0.01, abs=1e-3), plain[1])
    assert low == (plain[0], pytest.approx(plain[1] + 0.01, abs=1e-3))


def test_a_bias_that_reaches_beyond_the_range_keeps_the_ends_inside():
    assert share_interval(replicates(0.98, 0.01, bias=-0.5), 50)[1] == 1
    assert share_interval(replicates(0.02, 0.01, bias=0.5), 50)[0] == 0


def test_skewed_influences_move_out_the_end_on_the_longer_side():
    symmetric = Replicates(1.0, replicates(1.0, 0.1).without, 9)
    one_bad_group = np.full(10, -1.0)
    one_bad_group[0] = 9.0  # the score is higher without it
    offsets = one_bad_group / one_bad_group.std() * 0.1 / 3
    skewed = Replicates(1.0, 1.0 + offsets, 9)
    assert skewed.error == pytest.approx(symmetric.error) and skewed.skewness < -2
    plain, moved = (concordance_interval(one, 10) for one in (symmetric, skewed))
    assert moved[0] < plain[0] - 0.02 and moved[1] == pytest.approx(plain[1])


def test_perfect_concordance_has_an_interval():
    low, high = concordance_interval(Replicates(float(to_z(1.0)), np.full(10, to_z(1.0)), 9), 10)
    assert 0.5 < low < 0.95 < high < 1
