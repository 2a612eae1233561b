"""Hard clips: orders worked out by hand, for every task."""

import numpy as np
import pytest

from pipeline.report.analysis.hard_clips import (
    Confident,
    difficulty,
    hardest,
    missed_by_all,
    most_confidently_wrong,
    votes,
)
from tests.pipeline.report.outcomes.repetitions import outcomes_of

# Three clips of classes 0, 1, 0; `SURE` is right on the second, and on the third in one of two seeds.
SURE = outcomes_of(
    np.array([[[0.1, 0.9], [0.2, 0.8], [0.4, 0.6]], [[0.3, 0.7], [0.0, 1.0], [0.8, 0.2]]]), np.array([0, 1, 0])
)
VAGUE = outcomes_of(np.array([[[0.4, 0.6], [0.6, 0.4], [0.3, 0.7]]]), np.array([0, 1, 0]))


def test_difficulty_is_one_minus_the_true_class_with_equal_weight_per_model():
    assert difficulty([SURE]) == pytest.approx([0.8, 0.1, 0.4])
    assert difficulty([SURE, VAGUE]) == pytest.approx([0.7, 0.35, 0.55])
    assert hardest([SURE, VAGUE], 2) == [0, 2]
    assert hardest([VAGUE], 3) == [2, 0, 1]  # clips 0 and 1 are equally hard: page order


def test_confidently_wrong_goes_by_mean_probabilities():
    # Clip 2 is wrong in one seed, but its mean probabilities, 0.6 and 0.4, are right.
    assert most_confidently_wrong(SURE, 5) == [Confident(0, 1, True, pytest.approx(0.8))]
    assert [(one.clip, one.label) for one in most_confidently_wrong(VAGUE, 2)] == [(2, 1), (0, 1)]


def test_missed_by_all_needs_every_repetition_of_every_model():
    assert missed_by_all([SURE]) == [0]
    assert missed_by_all([VAGUE]) == [2, 0, 1]
    assert missed_by_all([SURE, VAGUE]) == [0]


def test_votes_count_repetitions_as_fractions_of_a_model():
    assert votes([SURE, VAGUE], [0, 1, 2]).tolist() == [[0, 2], [1, 1], [0.5, 1.5]]
    assert votes([SURE, VAGUE], [2, 0]).tolist() == [[0.5, 1.5], [0, 2]]
    several = outcomes_of(np.array([[[0.9, 0.5]], [[0.6, 0.1]]]), np.array([[1, 0]]))
    assert votes([several, several], [0]).tolist() == [[2, 1]]


def test_several_labels():
    targets = np.array([[1, 0], [1, 1], [0, 0]])
    model = outcomes_of(np.array([[[0.9, 0.7], [0.2, 0.9], [0.5, 0.4]]]), targets)
    assert most_confidently_wrong(model, 5) == [
        Confident(1, 0, False, pytest.approx(0.8)),
        Confident(0, 1, True, pytest.approx(0.7)),
        Confident(2, 0, True, pytest.approx(0.5)),
    ]
    losses = [-np.log([0.9, 0.3]).mean(), -np.log([0.2, 0.9]).mean(), -np.log([0.5, 0.6]).mean()]
    assert difficulty([model]) == pytest.approx(losses)
    other = outcomes_of(np.array([[[0.2, 0.6], [0.9, 0.2], [0.1, 0.1]]]), targets)
    # Both wrongly predict class 1 for clip 0. It is the only error that they share.
    assert missed_by_all([model, other]) == [0]


def test_numbers():
    model = outcomes_of(np.array([[[1.0], [4.0], [0.0]], [[2.0], [2.0], [0.5]]]), np.array([2.0, 1.0, 0.0]))
    assert difficulty([model]) == pytest.approx([0.5, 2.0, 0.25])
    assert hardest([model], 2) == [1, 0]
