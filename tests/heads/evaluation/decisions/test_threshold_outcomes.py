"""What thresholds give on test clips: scikit-learn's rates, and the intervals of ratios over clips."""

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from heads.evaluation.class_scores import ratio_interval
from heads.evaluation.decisions.abstention import COVERAGES, coverage_curve
from heads.evaluation.decisions.threshold_outcomes import (
    GRID,
    curve,
    curve_counts,
    curve_rates,
    group_counts,
    pooled_rates,
)
from heads.evaluation.predictions import Predictions
from tests.heads.evaluation.decisions.test_calibrators import clips


def scored(n=400, seeds=2):
    rng = np.random.default_rng(0)
    truth = rng.random(n) < 0.4
    probabilities = np.clip(0.3 + 0.3 * truth + 0.2 * rng.normal(size=(seeds, n)), 0, 1).astype(np.float32)
    return probabilities, truth, np.arange(n) // 4


def test_rates_and_intervals_are_those_over_clips():
    probabilities, truth, groups = scored()
    decided = probabilities >= 0.5
    found = group_counts(decided, truth, groups).outcome()
    assert found.precision[0] == pytest.approx(np.mean([precision_score(truth, one) for one in decided]))
    assert found.recall[0] == pytest.approx(np.mean([recall_score(truth, one) for one in decided]))
    assert found.false_positive_rate[0] == pytest.approx(decided[:, ~truth].mean())
    hits, whole = (decided & truth).astype(float), np.broadcast_to(truth, decided.shape).astype(float)
    assert found.precision == pytest.approx(ratio_interval(hits, decided.astype(float), groups))
    assert found.recall == pytest.approx(ratio_interval(hits, whole, groups))
    alarms = (decided & ~truth).astype(float)
    assert found.false_positive_rate == pytest.approx(ratio_interval(alarms, 1 - whole, groups))


def test_a_class_that_is_never_decided_has_no_precision():
    probabilities, truth, groups = scored()
    found = group_counts(probabilities > 2, truth, groups).outcome()
    assert found.precision is None and found.recall[0] == 0 and found.recall[2] > 0


def test_a_curve_has_the_rates_of_each_threshold():
    probabilities, truth, groups = scored()
    found = curve(curve_counts(probabilities, truth, groups))
    assert len(found) == len(GRID) == 101
    for at in (0, 30, 55, 100):
        alone = group_counts(probabilities >= GRID[at], truth, groups).outcome()
        assert found[at] == alone
    pooled = curve(curve_counts(probabilities, truth, groups * 0))
    assert pooled[30].recall[0] == found[30].recall[0] and pooled[30].recall[1:] == (0.0, 1.0)


def test_rates_without_intervals_have_the_bits_of_those_with_them():
    probabilities, truth, groups = scored()
    probabilities *= np.float32([[0.5], [0.95]])  # the first decides nothing above 0.5, neither does at 1
    counts = curve_counts(probabilities, truth, groups)
    points = curve(curve_counts(probabilities, truth, groups * 0))
    expected = {
        rate: [None if getattr(point, rate) is None else getattr(point, rate)[0] for point in points]
        for rate in ("precision", "recall", "false_positive_rate")
    }
    assert curve_rates(counts) == expected
    assert expected["precision"][100] is None


def test_counts_of_classes_add_up():
    probabilities, truth, groups = scored()
    other = np.roll(truth, 7)
    total = group_counts(probabilities > 0.5, truth, groups) + group_counts(probabilities > 0.7, other, groups)
    assert total.true.sum() == 2 * truth.sum() and total.total.sum() == 2 * len(truth)
    assert total.chosen.sum() == (probabilities > 0.5).sum() + (probabilities > 0.7).sum()


def test_validation_rates_are_pooled_over_fits():
    precision, recall, rate = pooled_rates([np.array([3, 1, 1, 5]), np.array([1, 3, 3, 1])])
    assert (precision, recall, rate) == (4 / 8, 4 / 8, 4 / 10)
    assert pooled_rates([np.array([0, 0, 0, 5])]) == (None, None, 0.0)


def test_accuracy_rises_when_uncertain_clips_are_left_out():
    probabilities, targets = clips("single-label", n=2000)
    ids = np.array([f"{row:06d}" for row in range(2000)], dtype=object)
    found = coverage_curve([Predictions(probabilities, targets, ids, 1, 0, "m")], np.arange(2000))
    assert [point.coverage for point in found] == COVERAGES.tolist()
    assert found[-1].accuracy[0] == pytest.approx((probabilities.argmax(axis=1) == targets).mean())
    certain = probabilities.max(axis=1) >= found[9].threshold
    assert found[9].accuracy[0] == pytest.approx((probabilities.argmax(axis=1) == targets)[certain].mean())
    assert certain.mean() == pytest.approx(0.5) and found[9].accuracy[0] > found[-1].accuracy[0] + 0.1
