"""The difference of two models' scores on the same clips."""

from dataclasses import replace

import numpy as np
import pytest

from heads.evaluation.paired import paired_difference
from heads.evaluation.predictions import Predictions


def of_classes(correct: np.ndarray) -> Predictions:
    """Predictions of two classes that are right where `correct` says so."""
    n = len(correct)
    targets = np.arange(n) % 2
    predicted = np.where(correct, targets, 1 - targets)
    probabilities = np.eye(2, dtype=np.float32)[predicted] * 0.8 + 0.1
    return Predictions(probabilities, targets, np.array([f"{at:03d}" for at in range(n)], object), 1, 0, "a")


def wilson(count: int, n: int) -> tuple[float, float]:
    z2 = 1.959964**2
    middle, half = 2 * count + z2, np.sqrt(z2 * (z2 + 4 * count * (1 - count / n)))
    return (middle - half) / (2 * (n + z2)), (middle + half) / (2 * (n + z2))


@pytest.mark.parametrize("counts", [(360, 120, 20, 0), (400, 60, 20, 20), (430, 5, 5, 60), (470, 8, 0, 22)])
def test_the_interval_of_pairs_without_groups(counts):
    """Clips that both, only the changed, only the original or no model classifies correctly."""
    after, before = (np.repeat(pattern, counts) for pattern in ([True, True, False, False], [True, False, True, False]))
    found = paired_difference([of_classes(before)], [of_classes(after)], np.arange(500), "single-label")
    gained, lost = counts[1] / 500, counts[2] / 500
    assert found.difference == pytest.approx(gained - lost)
    (gained_low, gained_high), (lost_low, lost_high) = wilson(counts[1], 500), wilson(counts[2], 500)
    low = gained - lost - np.sqrt((gained - gained_low) ** 2 + (lost_high - lost) ** 2)
    high = gained - lost + np.sqrt((gained_high - gained) ** 2 + (lost - lost_low) ** 2)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-3)  # Student's t is nearly the normal
    assert (found.p_value < 0.05) == (found.low > 0)


def test_equal_models_have_an_interval_around_zero():
    right = np.arange(80) % 5 > 0
    found = paired_difference([of_classes(right)], [of_classes(right)], np.arange(80), "single-label")
    assert found.difference == 0 and found.p_value == 1
    assert (found.low, found.high) == pytest.approx((-wilson(0, 80)[1], wilson(0, 80)[1]), abs=3e-3)


def test_groups_widen_the_interval():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    hard = rng.random(20) < 0.3
    before, after = np.ones(200, bool), ~hard[groups]
    wide = paired_difference([of_classes(before)], [of_classes(after)], groups, "single-label")
    narrow = paired_difference([of_classes(before)], [of_classes(after)], np.arange(200), "single-label")
    assert wide.difference == narrow.difference == after.mean() - 1
    assert wide.low < narrow.low and wide.high > narrow.high


def test_regression_and_multi_label():
    rng = np.random.default_rng(1)
    values = rng.normal(size=120)
    ids = np.array([f"{at:03d}" for at in range(120)], object)
    near = Predictions((values + 0.1 * rng.normal(size=120)).astype(np.float32)[:, None], values, ids, 1, 0, "a",
                       task="regression")  # fmt: skip
    far = replace(near, probabilities=(values + rng.normal(size=120)).astype(np.float32)[:, None])
    found = paired_difference([near], [far], np.arange(120), "regression")
    assert found.low < found.difference < found.high < 0 and found.p_value < 0.05
    truth = (rng.random((120, 3)) < 0.4).astype(np.int64)
    good = Predictions((0.7 * truth + 0.3 * rng.random((120, 3))).astype(np.float32), truth, ids, 1, 0, "a",
                       task="multi-label")  # fmt: skip
    same = paired_difference([good], [good], np.arange(120), "multi-label")
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
