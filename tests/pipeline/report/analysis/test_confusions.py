"""Confusion matrices with clips counted by hand."""

import numpy as np
import pytest

from heads.evaluation.predictions import Predictions
from pipeline.report.analysis.confusions import (
    Confusions,
    alike_together,
    confusions,
    decisions,
    hardest_first,
    largest,
)
from pipeline.report.analysis.outcomes import Outcomes, outcomes

TARGETS = np.array([0, 0, 0, 1, 1, 2])


def predicting(*repetitions, probability=0.8, n_classes=3):
    """Outcomes whose repetitions predict given classes."""
    probabilities = np.full((len(repetitions), len(TARGETS), n_classes), (1 - probability) / (n_classes - 1))
    for number, predicted in enumerate(repetitions):
        probabilities[number, np.arange(len(TARGETS)), predicted] = probability
    return Outcomes(probabilities, TARGETS, "single-label")


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
    model = outcomes(kept, ["d", "a", "b"])
    assert model.targets.tolist() == [0, 2, 1]
    assert model.predicted.tolist() == [[2, 2, 1], [0, 1, 0]]
    assert model.wrong.tolist() == [[True, False, False], [False, True, True]]


def test_cells_count_clips_and_repetitions_share_them():
    found = confusions(predicting([0, 1, 1, 1, 0, 2], [0, 1, 0, 1, 0, 0], [0, 1, 2, 1, 1, 2]))
    assert found.counts == pytest.approx(
        np.array([[1 + 0 + 1 / 3, 1 + 1 / 3, 1 / 3], [2 / 3, 1 + 1 / 3, 0], [1 / 3, 0, 2 / 3]])
    )
    assert found.counts.sum(axis=1) == pytest.approx([3, 2, 1])
    assert found.clips[0, 1] == [1, 2]  # clip 1 in every repetition, clip 2 in one
    assert found.clips[1, 0] == [4] and found.clips[2, 0] == [5]
    assert (1, 2) not in found.clips and (2, 1) not in found.clips
    assert set(found.clips) == set(zip(*np.nonzero(found.counts), strict=True))


def test_clips_equally_often_in_a_cell_are_sorted_by_probability():
    model = predicting([1, 1, 0, 1, 1, 2])
    model.probabilities[0, 1] = [0.05, 0.9, 0.05]
    assert confusions(model).clips[0, 1] == [1, 0]


def matrix(counts):
    counts = np.array(counts, dtype=float)
    return Confusions(counts, counts.sum(axis=1), ~np.eye(len(counts), dtype=bool), {})


def test_largest_confusions_are_off_the_diagonal_and_ranked_by_clips():
    # Three cells have two clips. Those of class 1 (two of six) and 2 (two of ten) come before that of class 0.
    found = matrix([[90, 2, 0], [2, 3, 1], [0, 2, 8]])
    assert largest(found) == [(1, 0), (2, 1), (0, 1), (1, 2)]
    assert largest(found, most=2) == [(1, 0), (2, 1)]


def test_classes_in_order_of_their_accuracy_untested_ones_last():
    assert hardest_first(matrix([[9, 1, 0], [5, 5, 0], [0, 0, 0]])) == [1, 0, 2]


def test_classes_confused_with_each_other_are_neighbours():
    counts = 10 * np.eye(6)
    for one, other in ((0, 4), (1, 3), (2, 5)):
        counts[one, other] = counts[other, one] = 6
    order = alike_together(matrix(counts))
    assert sorted(order) == list(range(6))
    for one, other in ((0, 4), (1, 3), (2, 5)):
        assert abs(order.index(one) - order.index(other)) == 1
    assert alike_together(matrix(np.zeros((2, 2)))) == [0, 1]


def test_decisions_of_several_labels_per_clip():
    targets = np.array([[1, 0], [1, 1], [0, 1]])
    probabilities = np.array([[[0.9, 0.6], [0.4, 0.7], [0.5, 0.1]], [[0.8, 0.2], [0.6, 0.7], [0.1, 0.3]]])
    found = decisions(Outcomes(probabilities, targets, "multi-label"))
    # Clips 0 and 1 have class 0. One of two repetitions finds clip 1; one wrongly predicts clip 2.
    assert found.totals.tolist() == [2, 2]
    assert found.counts.tolist() == [[1.5, 0.5, 0.5], [1, 1, 0.5]]
    assert found.clips[0, 0] == [0, 1] and found.clips[0, 1] == [1] and found.clips[0, 2] == [2]
    assert found.clips[1, 1] == [2] and found.clips[1, 2] == [0]
    assert largest(found) == [(1, 1), (0, 1), (0, 2), (1, 2)]
    assert hardest_first(found) == [1, 0]
