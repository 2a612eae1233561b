"""Outcomes hold what the page needs of the probabilities, in the order of the page."""

from dataclasses import replace

import numpy as np
import pytest

from heads.evaluation.metrics import pool
from heads.evaluation.predictions import Predictions
from heads.evaluation.top_probabilities import TopProbabilities
from pipeline.report.outcomes import outcomes as module
from pipeline.report.outcomes.outcomes import outcomes
from tests.pipeline.report.outcomes.repetitions import outcomes_of, pooled


def test_predictions_are_joined_over_folds_into_the_order_of_the_page():
    def one(fold, seed, ids, targets, predicted):
        return Predictions(
            np.eye(3, dtype=np.float32)[predicted], np.array(targets), np.array(ids, dtype=object), fold, seed, "m"
        )

    kept = [
        one(1, 0, ["b", "d"], [1, 0], [1, 2]),
        one(2, 0, ["a"], [2], [2]),
        one(1, 1, ["d", "b"], [0, 1], [0, 0]),
        one(2, 1, ["a"], [2], [1]),
    ]
    model = outcomes(list(pool(kept).values()), np.array([2, 0, 1]))  # the page starts with d
    assert model.targets().tolist() == [0, 2, 1]
    assert model.predicted().tolist() == [[2, 2, 1], [0, 1, 0]]
    assert model.predicted(np.array([2, 0])).tolist() == [[1, 2], [0, 0]]
    assert model.always_wrong().tolist() == [False, False, False]
    assert (model.n_repetitions, model.n_clips, model.n_classes) == (2, 3, 3)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_clips_are_processed_in_parts(monkeypatch, task):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(11), (3, 50))
    targets = rng.integers(0, 11, 50) if task == "single-label" else rng.integers(0, 2, (50, 11))
    whole = outcomes_of(probabilities, targets)
    monkeypatch.setattr(module, "CHUNK_CELLS", 11 * 7)
    parts = outcomes_of(probabilities, targets)
    assert np.array_equal(whole.difficulty, parts.difficulty)
    assert all(np.array_equal(getattr(whole.errors, name), getattr(parts.errors, name)) for name in vars(whole.errors))
    means = probabilities.astype(np.float32).astype(float).mean(axis=0)
    if task == "single-label":
        assert np.array_equal(whole.errors.label, means.argmax(axis=1))
        assert whole.support[1, 3] == pytest.approx(means[3, whole.predicted()[1, 3]])
    else:
        assert np.array_equal(parts.predicted(), probabilities.astype(np.float32) >= 0.5)
        assert np.array_equal(parts.targets(), targets > 0)


def test_the_highest_probabilities_give_the_same_outcomes():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 60, 200)
    probabilities = rng.dirichlet(np.full(60, 0.05), (2, 200))
    given = pooled(probabilities, targets)
    top = [
        Predictions(TopProbabilities.of(one.scores, targets), targets, one.ids, "all", one.seed, "m") for one in given
    ]
    whole, few = (outcomes(one, np.arange(200)) for one in (given, top))
    for name in ("packed", "difficulty", "confidence", "truth"):
        assert np.array_equal(getattr(whole, name), getattr(few, name))
    assert np.array_equal(whole.errors.label, few.errors.label)
    assert few.errors.probability == pytest.approx(whole.errors.probability, abs=5e-3)


def test_the_most_confident_error_follows_the_thresholds():
    probabilities = np.array([[[0.3, 0.6, 0.1]], [[0.3, 0.7, 0.1]]], dtype=np.float32)
    given = pooled(probabilities, np.array([[0, 1, 0]]))
    plain = outcomes(given, np.arange(1)).errors
    assert not plain.wrong[0]
    for decisions, label, predicted in (([1, 1, 0], 0, True), ([0, 0, 0], 1, False)):
        decided = [replace(one, decided=np.array([decisions], dtype=bool)) for one in given]
        found = outcomes(decided, np.arange(1)).errors
        assert found.wrong[0] and (found.label[0], found.predicted[0]) == (label, predicted)
        assert found.probability[0] == pytest.approx(0.3 if predicted else 0.35)
