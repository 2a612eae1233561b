"""Draws of groups with replacement: the distribution of NumPy's multinomial, from cheaper random numbers."""

import numpy as np
import pytest

from heads.evaluation import resampling
from heads.evaluation.resampling import group_weights, resample
from heads.evaluation.statistics import tied_with_best


def weights(n_groups, draws, seed=0):
    return np.concatenate(list(group_weights(n_groups, draws, seed)))


@pytest.mark.parametrize("n_groups", [1, 2, 7, 25, 26, 60, 500, 3000])
def test_every_draw_has_as_many_groups_and_all_are_equally_likely(n_groups):
    counts = weights(n_groups, 3000)
    assert counts.shape == (3000, n_groups) and counts.dtype == np.uint8
    assert (counts.sum(axis=1) == n_groups).all()
    means = counts.mean(axis=0)
    error = np.sqrt((1 - 1 / n_groups) / 3000)
    assert np.abs(means - 1).max() <= 5 * error


@pytest.mark.parametrize("n_groups", [5, 40, 400])
def test_the_counts_of_a_group_are_binomial(n_groups):
    from scipy import stats

    counts = weights(n_groups, 20_000 * 40 // n_groups).ravel()
    for value in range(5):
        wanted = stats.binom.pmf(value, n_groups, 1 / n_groups)
        error = np.sqrt(wanted * (1 - wanted) / len(counts)) + 1 / 2**16
        assert (counts == value).mean() == pytest.approx(wanted, abs=5 * error)


@pytest.mark.parametrize("n_groups", [30, 1500])
def test_sums_spread_as_those_of_the_multinomial(n_groups):
    rng = np.random.default_rng(1)
    sums = np.column_stack([rng.random(n_groups), rng.integers(1, 20, n_groups)])
    found = resample(sums, 8000, seed=2)
    wanted = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=8000) @ sums
    exact = n_groups * np.cov(sums.T, bias=True)
    for drawn in (found, wanted):
        assert np.abs(drawn.mean(axis=0) - sums.sum(axis=0)).max() < 5 * np.sqrt(exact.max() / 8000)
        scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
        assert np.cov(drawn.T) / scale == pytest.approx(exact / scale, abs=0.08)


def test_more_groups_than_fit_one_block_are_drawn_in_blocks(monkeypatch):
    monkeypatch.setattr(resampling, "CACHED_CELLS", 4000)
    blocks = list(group_weights(100, 90, 0))
    assert [len(block) for block in blocks] == [40, 40, 10]
    assert not np.array_equal(blocks[0], blocks[1])
    assert np.array_equal(weights(100, 90), np.concatenate(blocks))


def test_p_values_stay_within_the_error_of_the_earlier_draws(monkeypatch):
    """The earlier draws were NumPy's multinomial; two seeds of it differ as much."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=600)
    scores = {
        name: (0.7 * shared + 0.7 * rng.normal(size=600) < 0.8 + shift).astype(float)
        for name, shift in zip("abcd", (0, 0.03, 0.12, 0.2), strict=True)
    }
    groups = np.arange(600) // 2
    now = tied_with_best(scores, groups)

    def earlier(n_groups, draws, seed):
        yield np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws)

    monkeypatch.setattr(resampling, "group_weights", earlier)
    before = tied_with_best(scores, groups)
    for name, test in now.items():
        assert test.difference == before[name].difference
        wanted = before[name].p_value
        assert test.p_value == pytest.approx(wanted, abs=6 * 6 * np.sqrt(max(wanted / 6, 1e-4) / 10_000))
