"""False alarms: counts by hand, the exact Poisson interval, its clustered form, and thresholds that keep a rate."""

import numpy as np
import pytest
from scipy import stats

from heads.evaluation.decisions.false_alarms import (
    BackgroundScores,
    Recordings,
    alarm_scores,
    false_alarms,
    quiet_threshold,
    rate_interval,
)
from heads.evaluation.decisions.operating_points import Rule, choose


def test_alarms_and_events_are_those_counted_by_hand():
    # Two recordings of half an hour and of one hour; the first one has a gap after its second window.
    recordings = Recordings(
        of_window=np.array([0, 0, 0, 1, 1, 1, 1]),
        hours=np.array([0.5, 1.0]),
        follows=np.array([False, True, False, False, True, True, True]),
    )
    decided = np.array([[1, 1, 1, 1, 0, 1, 1], [0, 0, 0, 0, 1, 0, 0]], dtype=bool).T
    assert recordings.alarms(decided[:, 0]).tolist() == [3, 3]
    assert recordings.events(decided[:, 0]) == 4  # windows 0-1, 2, 3, 5-6
    found = false_alarms([decided, np.zeros_like(decided)], recordings)
    assert (found.alarms, found.events, found.share) == (3.5, 2.5, 0.5)
    assert found.per_hour[0] == pytest.approx(3.5 / 1.5)


@pytest.mark.parametrize("events", [0, 1, 5, 40])
def test_one_recording_has_the_exact_poisson_interval(events):
    low, high = rate_interval(np.array([events]), np.array([2.0]))
    assert low == pytest.approx(stats.chi2.ppf(0.025, 2 * events) / 4 if events else 0)
    assert high == pytest.approx(stats.chi2.ppf(0.975, 2 * events + 2) / 4)
    if events == 5:  # Garwood's table
        assert (2 * low, 2 * high) == pytest.approx((1.6235, 11.6683), abs=1e-4)


def test_alarms_that_come_together_widen_the_interval():
    hours = np.ones(10)
    even, together = np.full(10, 2), np.eye(10)[0] * 20
    exact = rate_interval(np.array([20]), np.array([10.0]))
    assert rate_interval(even, hours) == pytest.approx(exact)
    low, high = rate_interval(together, hours)
    assert low < exact[0] / 2 and high > 1.5 * exact[1]
    assert rate_interval(np.zeros(10), hours) == pytest.approx((0, 0.3689), abs=1e-4)


def test_only_the_most_probable_class_of_several_can_alarm():
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9]], dtype=np.float32)
    found = alarm_scores(probabilities, "single-label")
    assert np.isneginf(found[[0, 1], [1, 0]]).all()
    assert np.allclose(found[[0, 1], [0, 1]], [0.6, 0.9])
    assert np.array_equal(alarm_scores(probabilities, "multi-label"), probabilities)


@pytest.mark.parametrize("most", [0, 1, 7.5, 29.0 - 1e-12, 99, 100, 1000])
def test_a_quiet_threshold_is_the_lowest(most):
    rng = np.random.default_rng(0)
    background, scores = np.round(rng.random(100), 2), rng.random(50)
    threshold = quiet_threshold(background, most, scores)
    assert (background >= threshold).sum() <= most + 1e-9
    assert threshold == 0 or (background >= background[background < threshold].max()).sum() > most
    assert not ((scores < threshold) & (scores > background[background < threshold].max(initial=2))).any()


def test_windows_of_probability_one_are_rejected():
    threshold = quiet_threshold(np.ones(3), 2, np.ones(4))
    assert not (np.ones(3, np.float32) >= threshold).any()


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_thresholds_keep_the_rate_on_background(task):
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)) + 3 * np.eye(3)[targets]
    silent = np.exp(rng.normal(size=(2000, 3)))
    clips, silent = (values / values.sum(axis=1, keepdims=True) for values in (np.exp(logits), silent))
    truth = np.eye(3, dtype=int)[targets] if task == "multi-label" else targets
    background = BackgroundScores(alarm_scores(silent, task), hours=4.0)
    point = choose(clips, truth, Rule("max_false_alarms_per_hour", 5.0), task, background)
    counts = (background.scores >= point.thresholds).sum(axis=0)
    assert (counts <= 20).all() and (counts >= 19).all() and point.met.all()
    assert (background.scores >= point.whole).sum() <= 20
    loose = choose(clips, truth, Rule("max_false_alarms_per_hour", 50.0), task, background)
    assert (loose.thresholds < point.thresholds).all() and (loose.counts[:, 0] >= point.counts[:, 0]).all()
    with pytest.raises(ValueError, match="needs windows of background"):
        choose(clips, truth, Rule("max_false_alarms_per_hour", 5.0), task)
