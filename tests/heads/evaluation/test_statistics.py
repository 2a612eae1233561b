"""Statistics: known limits, groups that count, and equal models that stay tied."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from heads.evaluation.statistics import accuracy_interval, tied_with_best


def right(share, n=400, seed=0):
    scores = np.zeros(n)
    scores[: round(share * n)] = 1
    return np.random.default_rng(seed).permutation(scores)


def test_without_groups_it_is_wilsons_interval():
    low, high = accuracy_interval(right(0.77), np.arange(400))
    wilson = stats.binomtest(308, 400).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((wilson.low, wilson.high), abs=1e-3)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from([0, 1 / 3, 0.5, 1]), st.integers(0, 5)), min_size=1, max_size=40))
def test_it_holds_the_accuracy_and_never_has_zero_width(clips):
    scores, groups = (np.array(column) for column in zip(*clips, strict=True))
    low, high = accuracy_interval(scores, groups)
    assert 0 <= low <= scores.mean() <= high <= 1
    assert high - low > 0.01


def test_all_right_counts_groups_not_clips():
    low, high = accuracy_interval(np.ones(400), np.arange(400))
    assert high == 1 and low == pytest.approx(400 / (400 + stats.t.ppf(0.975, 399) ** 2))
    by_five, _ = accuracy_interval(np.ones(400), np.arange(400) // 5)
    assert by_five < low


def test_correlated_groups_widen_it_and_names_or_order_do_not():
    scores = np.repeat(right(0.77, 80), 5)
    groups = np.arange(400) // 5
    width = np.diff(accuracy_interval(scores, groups))[0]
    alone = np.diff(accuracy_interval(scores, np.arange(400)))[0]
    assert width == pytest.approx(alone * np.sqrt(5), rel=0.05)
    order = np.random.default_rng(0).permutation(400)
    named = np.array([f"speaker {group}" for group in groups])
    assert np.diff(accuracy_interval(scores[order], named[order]))[0] == pytest.approx(width)


def test_one_group_gives_the_widest_interval():
    assert accuracy_interval(right(0.9, 20), np.zeros(20)) == (0.0, 1.0)
    assert tied_with_best({"a": np.ones(20), "b": np.zeros(20)}, np.zeros(20))["b"].tied


@pytest.mark.parametrize(("accuracy", "group_size"), [(0.77, 1), (0.96, 5), (0.99, 5)])
def test_it_covers_the_truth_of_correlated_groups(accuracy, group_size):
    rng = np.random.default_rng(0)
    groups = np.arange(400) // group_size
    concentration = (1 - 0.3) / 0.3
    covered = 0
    for _ in range(400):
        own = rng.beta(accuracy * concentration, (1 - accuracy) * concentration, groups.max() + 1)
        low, high = accuracy_interval((rng.random(400) < own[groups]).astype(float), groups)
        covered += low <= accuracy <= high
    assert 0.91 <= covered / 400 <= 0.99


def test_equal_models_are_rarely_told_apart_and_unequal_ones_are():
    rng = np.random.default_rng(0)
    groups = np.arange(400) // 2
    apart = missed = 0
    for _ in range(100):
        hidden = (
            0.6 * rng.normal(size=(400, 1)) + 0.3 * rng.normal(size=(200, 4))[groups] + 0.74 * rng.normal(size=(400, 4))
        )
        scores = dict(zip("abcd", (hidden < [[0.7, 0.7, 0.7, 0.2]]).astype(float).T, strict=True))
        found = tied_with_best(scores, groups)
        apart += not all(found[name].tied for name in "abc")
        missed += found["d"].tied
    assert apart <= 8 and missed <= 10


def test_the_interval_of_a_difference_agrees_with_its_p_value():
    groups = np.arange(200) // 2
    significant = 0
    for seed in range(40):
        scores = {"a": right(0.8, 200, seed), "b": right(0.72, 200, seed + 1000)}
        found = tied_with_best(scores, groups, draws=2000)
        difference, low, high = found["a"].differences["b"]
        assert difference == pytest.approx(scores["a"].mean() - scores["b"].mean())
        assert found["b"].differences["a"] == pytest.approx((-difference, -high, -low))
        significant += found["a"].p_values["b"] <= 0.05  # of the only pair, so not corrected
        assert (found["a"].p_values["b"] <= 0.05) == (low > 0 or high < 0)
    assert 0 < significant < 40


def test_the_interval_of_a_difference_covers_the_truth():
    rng = np.random.default_rng(0)
    groups, covered = np.arange(300) // 3, 0
    for _ in range(300):
        shared = rng.normal(size=(100, 1))[groups]
        hidden = 0.6 * shared + 0.8 * rng.normal(size=(300, 2))
        scores = dict(zip("ab", (hidden < stats.norm.ppf([0.8, 0.7])).astype(float).T, strict=True))
        _, low, high = tied_with_best(scores, groups, draws=1000)["a"].differences["b"]
        covered += low <= 0.1 <= high
    assert 0.92 <= covered / 300 <= 0.99


def test_the_difference_of_models_on_one_group_is_not_known():
    found = tied_with_best({"a": right(0.8, 20), "b": right(0.5, 20)}, np.zeros(20, int))
    assert np.isinf(found["a"].differences["b"][1:]).all()


def test_the_best_has_no_difference_and_identical_models_are_tied():
    scores = {"low": right(0.5), "best": right(0.9, seed=1), "twin": right(0.9, seed=1)}
    found = tied_with_best(scores, np.arange(400))
    assert found["best"].difference == found["twin"].difference == 0
    assert found["best"].tied and found["twin"].tied and found["twin"].p_value == 1
    assert found["low"].difference == pytest.approx(0.4) and not found["low"].tied


def test_groups_widen_the_comparison():
    better, worse = np.ones(400), np.ones(400)
    worse[:20] = 0
    assert not tied_with_best({"a": better, "b": worse}, np.arange(400))["b"].tied
    assert tied_with_best({"a": better, "b": worse}, np.arange(400) // 10)["b"].tied


def test_clear_differences_show_among_many_models():
    scores = {f"m{k}": right(0.9, seed=k) for k in range(40)} | {"bad": right(0.3, seed=99)}
    found = tied_with_best(scores, np.arange(400))
    assert not found["bad"].tied
    assert sum(not one.tied for one in found.values()) == 1


def test_mismatched_scores_are_refused():
    with pytest.raises(ValueError, match="models scored on"):
        tied_with_best({"a": np.ones(3), "b": np.ones(4)}, np.arange(4))
    with pytest.raises(ValueError, match="0…1"):
        accuracy_interval(np.array([0.5, 1.5]), np.arange(2))
    with pytest.raises(ValueError, match="0 scores"):
        accuracy_interval(np.array([]), np.array([]))
