"""Predictions check that their arrays match."""

import numpy as np
import pytest

from heads.evaluation.predictions import Predictions
from heads.evaluation.top_probabilities import TopProbabilities, concatenated


def test_arrays_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="do not match; they should be"):
        Predictions(np.ones((3, 2)), np.zeros(2, int), np.array(["a", "b"]), 1, 0, "m")
    with pytest.raises(ValueError, match="do not fit 2 classes"):
        Predictions(np.ones((1, 2)), np.array([2]), np.array(["a"]), 1, 0, "m")


def test_targets_of_another_task_are_refused():
    ids = np.array(["a", "b"])
    with pytest.raises(ValueError, match=r"\(N, C\), \(N, C\) and \(N,\)$"):
        Predictions(np.ones((2, 3)), np.zeros(2, int), ids, 1, 0, "m", task="multi-label")
    with pytest.raises(ValueError, match="each class has 0 or 1"):
        Predictions(np.ones((2, 3)), np.full((2, 3), 2), ids, 1, 0, "m", task="multi-label")
    with pytest.raises(ValueError, match="regression predicts one"):
        Predictions(np.ones((2, 3)), np.zeros(2), ids, 1, 0, "m", task="regression")


@pytest.mark.parametrize("n_classes", [20, 400])
def test_the_highest_probabilities_keep_what_scores_need(n_classes):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(n_classes, 0.2), 300).astype(np.float32)
    probabilities[:5] = 1 / n_classes  # ties: the first class is predicted
    targets = rng.integers(0, n_classes, 300)
    ids = np.array([f"{row:03d}" for row in range(300)], dtype=object)
    whole = Predictions(probabilities, targets, ids, 1, 0, "m")
    top = Predictions(TopProbabilities.of(probabilities, targets), targets, ids, 1, 0, "m")
    assert np.array_equal(top.predicted, whole.predicted) and top.probabilities.shape == (300, n_classes)
    assert np.array_equal(top.probability_of(targets), whole.probability_of(targets))
    falling = np.sort(probabilities, axis=1)[:, ::-1]
    assert np.array_equal(top.probabilities.values[:, :-1], falling[:, :16])
    least = probabilities.argmin(axis=1)
    kept = (top.probabilities.classes == least[:, None]).any(axis=1)
    assert np.array_equal(top.probability_of(least), np.where(kept, probabilities[np.arange(300), least], 0))
    with pytest.raises(ValueError, match="only 17 probabilities of each clip are known"):
        _ = top.scores
    with pytest.raises(ValueError, match="cannot be joined"):
        concatenated([probabilities, top.probabilities])
