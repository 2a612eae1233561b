"""Calibration figures: scikit-learn's Brier score and curve, known calibration errors, intervals."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from heads.evaluation.decisions.calibration import (
    calibration_figures,
    decisions_of,
    equal_mass,
    expected_error,
    mean_interval,
)
from heads.evaluation.metrics import log_loss as own_log_loss
from heads.evaluation.predictions import Predictions
from tests.heads.evaluation.decisions.test_calibrators import C, clips


def predictions(task, temperature=1.0, n=3000, seed=0):
    probabilities, targets = clips(task, temperature, n)
    ids = np.array([f"{row:06d}" for row in range(n)], dtype=object)
    return Predictions(probabilities, targets, ids, 1, seed, "m", task=task)


def test_scores_of_one_class_per_clip_are_those_of_scikit_learn():
    one, groups = predictions("single-label"), np.arange(3000) // 5
    figures = calibration_figures([one], groups)
    truth = np.eye(C)[one.targets]
    normalised = one.probabilities.astype(np.float64)
    normalised /= normalised.sum(axis=1, keepdims=True)
    assert figures.brier[0] == pytest.approx(((normalised - truth) ** 2).sum(axis=1).mean(), abs=1e-6)
    assert figures.log_loss[0] == pytest.approx(log_loss(one.targets, normalised), abs=1e-6)
    assert figures.log_loss[0] == pytest.approx(own_log_loss([one]))


def test_scores_of_several_classes_per_clip_are_those_of_scikit_learn():
    one, groups = predictions("multi-label"), np.arange(3000) // 5
    figures = calibration_figures([one], groups)
    flat = one.targets.reshape(-1), one.probabilities.reshape(-1).astype(np.float64)
    assert figures.brier[0] == pytest.approx(brier_score_loss(*flat), abs=1e-6)
    assert figures.log_loss[0] == pytest.approx(log_loss(*flat), abs=1e-5)
    observed, predicted = calibration_curve(*flat, n_bins=10)
    assert [bin.observed[0] for bin in figures.reliability] == pytest.approx(observed)
    assert [bin.predicted for bin in figures.reliability] == pytest.approx(predicted, abs=1e-6)
    assert sum(bin.count for bin in figures.reliability) == pytest.approx(flat[0].size)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_the_error_of_a_calibrated_model_is_small_and_of_a_certain_one_large(task):
    groups = np.arange(20_000)
    good, certain = (calibration_figures([predictions(task, off, 20_000)], groups) for off in (1.0, 4.0))
    assert max(good.ece, good.adaptive_ece) < 0.015
    assert min(certain.ece, certain.adaptive_ece) > 0.08
    inside = [low - 0.02 <= bin.predicted <= high + 0.02 for bin in good.reliability for _, low, high in [bin.observed]]
    assert all(inside)


def test_errors_are_worked_out_by_hand():
    probabilities = np.array([[0.9], [0.9], [0.6], [0.6]])
    truth = np.array([[True], [False], [True], [True]])
    bins = np.array([[13], [13], [9], [9]])
    assert expected_error(probabilities, truth, bins) == pytest.approx((abs(1.8 - 1) + abs(1.2 - 2)) / 4)
    assert equal_mass(probabilities, 2).tolist() == [[1], [1], [0], [0]]
    assert equal_mass(np.full((6, 1), 0.5), 3).tolist() == [[0]] * 6


def test_a_calibration_error_is_the_mean_over_seeds():
    groups = np.arange(3000)
    one, other = predictions("single-label", 1.0), predictions("single-label", 3.0, seed=1)
    both = calibration_figures([one, other], groups)
    alone = [calibration_figures([part], groups) for part in (one, other)]
    assert both.ece == pytest.approx(np.mean([part.ece for part in alone]))
    assert both.brier[0] == pytest.approx(np.mean([part.brier[0] for part in alone]))
    assert len(decisions_of(one)[0]) == 3000


def test_a_mean_has_the_cluster_robust_interval():
    half = np.random.default_rng(0).normal(size=30)
    values = np.concatenate([half, -half])
    alone = mean_interval(values, np.arange(60))
    assert alone[0] - alone[1] == pytest.approx(2.001 * values.std(ddof=1) / np.sqrt(60), rel=1e-3)
    twice = mean_interval(np.repeat(values, 2), np.repeat(np.arange(60), 2))
    assert twice == pytest.approx(alone)
    mean, low, high = mean_interval(values**2, np.arange(60))
    assert high - mean > 1.2 * (mean - low)  # squares are skewed
    assert mean_interval(values, np.zeros(60, int))[1:] == (-np.inf, np.inf)
    assert mean_interval(values * 0 + 0.3, np.arange(60)) == pytest.approx((0.3, 0.3, 0.3))


def test_no_end_of_a_loss_is_negative():
    certain = np.full((12, 2), [1.0, 0.0], np.float32)
    certain[3] = [0.6, 0.4]  # the error of one clip among twelve is very skewed
    ids = np.array([f"{row:02d}" for row in range(12)], dtype=object)
    one = Predictions(certain, np.zeros(12, int), ids, 1, 0, "m", task="single-label")
    figures = calibration_figures([one], np.arange(12))
    assert mean_interval(np.array([0.0] * 11 + [0.32]), np.arange(12))[1] < 0  # what a mean of any numbers may have
    for mean, low, high in (figures.brier, figures.log_loss):
        assert 0 <= low <= mean < high
