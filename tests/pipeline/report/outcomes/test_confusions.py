"""Confusion matrices with clips counted by hand."""

import numpy as np
import pytest

from pipeline.report.outcomes.confusions import (
    BEST_ORDERED,
    MOST_ORDERED,
    Confusions,
    alike_together,
    confusions,
    decisions,
    hardest_first,
    largest,
)
from tests.pipeline.report.outcomes.repetitions import outcomes_of, pooled

TARGETS = np.array([0, 0, 0, 1, 1, 2])


def predicting(*repetitions, probability=0.8, n_classes=3):
    """Probabilities whose repetitions predict given classes."""
    probabilities = np.full((len(repetitions), len(TARGETS), n_classes), (1 - probability) / (n_classes - 1))
    for number, predicted in enumerate(repetitions):
        probabilities[number, np.arange(len(TARGETS)), predicted] = probability
    return probabilities


def cells(found):
    """The clips of each cell by its row and column."""
    return {(int(row), int(column)): found.clips_of(at)
            for at, (row, column) in enumerate(zip(found.rows, found.columns, strict=True))}  # fmt: skip


def pairs(found, ranked):
    return [(int(found.rows[at]), int(found.columns[at])) for at in ranked]


def test_cells_count_clips_and_repetitions_share_them():
    found = confusions(outcomes_of(predicting([0, 1, 1, 1, 0, 2], [0, 1, 0, 1, 0, 0], [0, 1, 2, 1, 1, 2]), TARGETS))
    counts = found.matrix(found.counts)
    assert counts == pytest.approx(
        np.array([[1 + 0 + 1 / 3, 1 + 1 / 3, 1 / 3], [2 / 3, 1 + 1 / 3, 0], [1 / 3, 0, 2 / 3]])
    )
    assert counts.sum(axis=1) == pytest.approx([3, 2, 1])
    assert cells(found)[0, 1] == [1, 2]  # clip 1 in every repetition, clip 2 in one
    assert cells(found)[1, 0] == [4] and cells(found)[2, 0] == [5]
    assert set(cells(found)) == set(zip(*map(list, np.nonzero(counts)), strict=True)) and len(found) == 7
    assert found.clips_of(1, most=1) == [1]


def test_clips_equally_often_in_a_cell_are_sorted_by_probability():
    probabilities = predicting([1, 1, 0, 1, 1, 2])
    probabilities[0, 1] = [0.05, 0.9, 0.05]
    assert cells(confusions(outcomes_of(probabilities, TARGETS)))[0, 1] == [1, 0]


def matrix(counts):
    counts = np.array(counts, dtype=float)
    rows, columns = np.nonzero(counts)
    none = np.empty(0, np.int32), np.zeros(len(rows) + 1, int)
    return Confusions(rows, columns, counts[rows, columns], counts.sum(axis=1), *none, is_square=True)


def test_largest_confusions_are_off_the_diagonal_and_ranked_by_clips():
    # Three cells have two clips. Those of class 1 (two of six) and 2 (two of ten) come before that of class 0.
    found = matrix([[90, 2, 0], [2, 3, 1], [0, 2, 8]])
    assert pairs(found, largest(found)) == [(1, 0), (2, 1), (0, 1), (1, 2)]
    assert pairs(found, largest(found, most=2)) == [(1, 0), (2, 1)]


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


def test_more_classes_are_ordered_without_the_search_for_the_best_leaves_and_very_many_by_name():
    n_classes = 2 * BEST_ORDERED
    counts = 10 * np.eye(n_classes)
    for one in range(BEST_ORDERED):
        counts[one, one + BEST_ORDERED] = counts[one + BEST_ORDERED, one] = 6
    order = alike_together(matrix(counts))
    assert all(abs(order.index(one) - order.index(one + BEST_ORDERED)) == 1 for one in range(BEST_ORDERED))
    assert alike_together(matrix(np.eye(MOST_ORDERED + 1))) == list(range(MOST_ORDERED + 1))


def test_decisions_of_several_labels_per_clip():
    targets = np.array([[1, 0], [1, 1], [0, 1]])
    probabilities = np.array([[[0.9, 0.6], [0.4, 0.7], [0.5, 0.1]], [[0.8, 0.2], [0.6, 0.7], [0.1, 0.3]]])
    found = decisions(pooled(probabilities, targets), np.arange(3))
    # Class 0: clips 0 and 1 have it. One of two repetitions finds clip 1, and one wrongly predicts clip 2 as class 0.
    assert found.totals.tolist() == [2, 2]
    assert found.matrix(found.counts).tolist() == [[1.5, 0.5, 0.5], [1, 1, 0.5]]
    clips = cells(found)
    assert clips[0, 0] == [0, 1] and clips[0, 1] == [1] and clips[0, 2] == [2]
    assert clips[1, 1] == [2] and clips[1, 2] == [0]
    assert pairs(found, largest(found)) == [(1, 1), (0, 1), (0, 2), (1, 2)]
    assert hardest_first(found) == [1, 0]
