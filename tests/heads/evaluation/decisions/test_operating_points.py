"""Thresholds: planted best ones are found, every rule holds on validation, unreachable ones take the nearest."""

import json

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.metrics import f1_score, precision_score, recall_score

from features.errors import WeightsError
from heads.evaluation.decisions.operating_points import OperatingPoint, Rule, choose, choose_threshold, decide

RATE, APART = 0.3, 2.0


def decisions(n=200_000, seed=0):
    """Scores of which positives lie two standard deviations above negatives, mapped to 0…1."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < RATE
    return stats.norm.cdf(rng.normal(size=n) + APART * truth), truth


def rates(threshold):
    """True precision and recall at a threshold."""
    at = stats.norm.ppf(threshold)
    hits, alarms = RATE * stats.norm.sf(at - APART), (1 - RATE) * stats.norm.sf(at)
    return hits / (hits + alarms), hits / RATE


def f1_of(threshold):
    precision, recall = rates(threshold)
    return 2 * precision * recall / (precision + recall)


BEST = {
    Rule("max_f1"): lambda: optimize.minimize_scalar(lambda at: -f1_of(at), bounds=(0.5, 0.99), method="bounded").x,
    Rule("min_precision", 0.95): lambda: optimize.brentq(lambda at: rates(at)[0] - 0.95, 0.5, 0.9999),
    Rule("min_recall", 0.9): lambda: optimize.brentq(lambda at: rates(at)[1] - 0.9, 0.1, 0.99),
}


@pytest.mark.parametrize("rule", BEST, ids=str)
def test_the_known_best_threshold_is_found(rule):
    chosen = choose_threshold(*decisions(), rule)
    assert chosen.met
    assert stats.norm.ppf(chosen.threshold) == pytest.approx(stats.norm.ppf(BEST[rule]()), abs=0.08)


@pytest.mark.parametrize("rule", BEST, ids=str)
def test_no_other_threshold_is_better_on_validation(rule):
    scores, truth = decisions(60)
    chosen = choose_threshold(scores, truth, rule)

    def merit(threshold):
        said = scores >= threshold
        precision = precision_score(truth, said, zero_division=0)
        if rule.goal == "max_f1":
            return f1_score(truth, said)
        recall = recall_score(truth, said)
        fits, other = (precision, recall) if rule.goal == "min_precision" else (recall, precision)
        return other if fits >= rule.value else -1

    assert merit(chosen.threshold) == pytest.approx(max(map(merit, scores)))
    hits, alarms, missed, rejected = chosen.counts
    said = scores >= chosen.threshold
    assert (hits, alarms) == ((said & truth).sum(), (said & ~truth).sum())
    assert (missed, rejected) == ((~said & truth).sum(), (~said & ~truth).sum())


def test_a_threshold_lies_between_scores():
    truth = np.array([True, True, False, False])
    assert choose_threshold(np.array([0.9, 0.8, 0.4, 0.1]), truth, Rule("max_f1")).threshold == pytest.approx(0.6)


def test_what_cannot_be_reached_takes_the_nearest():
    scores, truth = np.array([0.9, 0.8, 0.7, 0.1]), np.array([False, True, True, False])
    chosen = choose_threshold(scores, truth, Rule("min_precision", 0.95))
    assert not chosen.met and chosen.threshold == pytest.approx(0.4)  # precision 2/3, the highest there is
    assert chosen.counts.tolist() == [2, 1, 0, 1]


@pytest.mark.parametrize("rule", BEST, ids=str)
def test_equal_scores_are_accepted_together(rule):
    truth = np.arange(10) < 3
    chosen = choose_threshold(np.full(10, 0.5), truth, rule)
    assert chosen.threshold == 0.5 and chosen.counts.tolist() == [3, 7, 0, 0]
    assert chosen.met == (rule.goal != "min_precision")


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_a_class_without_positive_clips_uses_the_threshold_of_all(task):
    rng = np.random.default_rng(0)
    probabilities = rng.random((200, 3))
    targets = (rng.random((200, 3)) < probabilities).astype(int)
    targets[:, 1] = 0
    if task == "single-label":
        targets = np.where(rng.random(200) < 0.5, 0, 2)
    point = choose(probabilities, targets, Rule("max_f1"), task)
    assert point.own.tolist() == [True, False, True] and not point.met[1]
    assert point.thresholds[1] == point.whole != point.thresholds[0]
    again = OperatingPoint.of(json.loads(json.dumps(point.stored())), 3, "f")
    assert again.rule == point.rule and np.array_equal(again.thresholds, point.thresholds)
    with pytest.raises(WeightsError, match="f: its operating point does not fit 4 classes"):
        OperatingPoint.of(point.stored(), 4, "f")
    with pytest.raises(WeightsError, match="f: its operating point cannot be read"):
        OperatingPoint.of({}, 4, "f")


def test_decisions():
    probabilities = np.array([[0.6, 0.4], [0.45, 0.55], [0.2, 0.8]])
    thresholds = np.array([0.5, 0.6])
    assert decide(probabilities, thresholds, "multi-label").tolist() == [[True, False], [False, False], [False, True]]
    single = decide(probabilities, thresholds, "single-label")
    assert single.tolist() == [[True, False], [False, False], [False, True]]
    answered = decide(probabilities, thresholds, "single-label", abstain=False)
    assert answered.argmax(axis=1).tolist() == [0, 1, 1] and (answered.sum(axis=1) == 1).all()


def test_a_thousand_classes_are_fast():
    rng = np.random.default_rng(0)
    probabilities = rng.random((500, 1000)).astype(np.float32)
    point = choose(probabilities, rng.integers(0, 1000, 500), Rule("max_f1"), "single-label")
    assert point.thresholds.shape == (1000,)


def test_numbers_are_refused():
    with pytest.raises(ValueError, match="regression"):
        choose(np.ones((3, 1)), np.ones(3), Rule("max_f1"), "regression")
