"""Calibration maps: planted miscalibration is recovered, scikit-learn agrees, damaged maps are refused."""

import json

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from features.errors import WeightsError
from heads.evaluation.decisions.calibrators import METHODS, Temperature, calibrator_of, fit_calibrator, logits

N, C = 3000, 4
TASKS = ("single-label", "multi-label")


def clips(task, temperature=1.0, n=N, seed=0):
    """Labels drawn from known probabilities, and the probabilities of a model that is off by a temperature."""
    rng = np.random.default_rng(seed)
    scores = 2 * rng.normal(size=(n, C))
    if task == "multi-label":
        targets = (rng.random((n, C)) < 1 / (1 + np.exp(-scores))).astype(int)
        return (1 / (1 + np.exp(-scores * temperature))).astype(np.float32), targets
    true = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    targets = (rng.random((n, 1)) > np.cumsum(true, axis=1)).sum(axis=1)
    off = true**temperature
    return (off / off.sum(axis=1, keepdims=True)).astype(np.float32), targets


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("planted", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_recovered(task, planted):
    probabilities, targets = clips(task, planted, n=20_000)
    fitted = fit_calibrator("temperature", probabilities, targets, task)
    assert fitted.value == pytest.approx(planted, rel=0.04)
    true, _ = clips(task, 1.0, n=20_000)
    assert np.abs(fitted(probabilities, task) - true).max() < 0.02


class Scores(ClassifierMixin, BaseEstimator):
    """An estimator whose features are its scores."""

    def fit(self, scores, targets):
        self.classes_ = np.unique(targets)
        return self

    def predict(self, scores):
        return scores.argmax(axis=1)

    def decision_function(self, scores):
        return scores


@pytest.mark.parametrize(("method", "theirs"), [("platt", "sigmoid"), ("isotonic", "isotonic")])
def test_maps_of_classes_are_those_of_scikit_learn(method, theirs):
    probabilities, targets = clips("single-label", 2.0)
    scores = logits(probabilities.astype(np.float64)) if method == "platt" else probabilities.astype(np.float64)
    reference = CalibratedClassifierCV(FrozenEstimator(Scores().fit(scores, targets)), method=theirs)
    expected = reference.fit(scores, targets).predict_proba(scores)
    fitted = fit_calibrator(method, probabilities, targets, "single-label")
    assert np.abs(fitted(probabilities, "single-label") - expected).max() < 1e-4


def test_the_temperature_is_that_of_scikit_learn():
    probabilities, targets = clips("single-label", 2.0)
    scores = np.log(probabilities.astype(np.float64))
    reference = CalibratedClassifierCV(FrozenEstimator(Scores().fit(scores, targets)), method="temperature")
    expected = reference.fit(scores, targets).predict_proba(scores)
    fitted = fit_calibrator("temperature", probabilities, targets, "single-label")
    assert np.abs(fitted(probabilities, "single-label") - expected).max() < 1e-3


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_a_map_survives_json_and_keeps_probabilities(method, task):
    probabilities, targets = clips(task, 2.0)
    fitted = fit_calibrator(method, probabilities, targets, task)
    again = calibrator_of(json.loads(json.dumps(fitted.stored())), C, "f")
    mapped = fitted(probabilities, task)
    assert np.array_equal(again(probabilities, task), mapped)
    assert mapped.dtype == np.float32 and mapped.min() >= 0 and mapped.max() <= 1
    if task == "single-label":
        assert np.allclose(mapped.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_a_temperature_keeps_order_and_zeros(task):
    probabilities, _ = clips(task)
    probabilities[0] = [0.0, 0.25, 0.25, 0.5]
    mapped = Temperature(4.0)(probabilities, task)
    assert np.array_equal(mapped.argmax(axis=1), probabilities.argmax(axis=1))
    assert mapped[0, 0] == (0 if task == "single-label" else pytest.approx(0.03065, abs=1e-4))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_a_class_without_positive_clips_is_not_pushed_away(method, task):
    probabilities, targets = clips(task)
    if task == "single-label":
        kept = targets != 2
        probabilities, targets = probabilities[kept], targets[kept]
    else:
        targets[:, 2] = 0
    fitted = fit_calibrator(method, probabilities, targets, task)
    only = np.eye(C, dtype=np.float32)[[2]] * 0.94 + 0.015
    assert fitted(only, task).argmax() == 2


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_equal_scores_give_the_rate_or_stay(method, task):
    _, targets = clips(task)
    equal = np.full((N, C), 0.25 if task == "single-label" else 0.5, np.float32)
    mapped = fit_calibrator(method, equal, targets, task)(equal[:1], task)
    rates = targets.mean(axis=0) if task == "multi-label" else np.bincount(targets) / N
    assert np.isfinite(mapped).all()
    assert np.allclose(mapped[0], equal[0] if method == "temperature" else rates, atol=0.01)


def test_a_thousand_classes_are_fitted_fast():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(1000, 0.05), size=400).astype(np.float32)
    targets = probabilities.argmax(axis=1)
    for method in METHODS:
        fitted = fit_calibrator(method, probabilities, targets, "single-label")
        assert np.isfinite(fitted(probabilities, "single-label")).all()


@pytest.mark.parametrize(
    "stored",
    [
        {"method": "temperature"},
        {"method": "temperature", "temperature": float("nan")},
        {"method": "platt", "slopes": [1.0], "offsets": [0.0]},
        {"method": "isotonic", "points": [[[0.0, 1.0], [0.9, 0.1]]] * C},
        {"method": "other", "points": []},
    ],
)
def test_damaged_maps_are_refused(stored):
    with pytest.raises(WeightsError, match=r"head\.safetensors: its calibration"):
        calibrator_of(stored, C, "head.safetensors")


def test_numbers_and_no_clips_are_refused():
    with pytest.raises(ValueError, match="regression"):
        fit_calibrator("platt", np.ones((3, 1)), np.ones(3), "regression")
    with pytest.raises(ValueError, match="0 clips"):
        fit_calibrator("temperature", np.ones((0, 2)), np.ones(0, int), "single-label")
