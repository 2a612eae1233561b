"""The majority baseline: what it answers, and that it knows the training labels only."""

from dataclasses import replace

import numpy as np
import pytest

from heads.evaluation import metrics
from heads.evaluation.majority import answer_of, majority_predictions
from heads.splits.targets import Targets
from tests.heads.training.test_leak import TASKS, corpus, permuted

IDS = np.array([f"c{row:03d}" for row in range(96)], dtype=object)


def targets_for(task, values):
    names = () if task == "regression" else tuple("abcd")
    return Targets(task, values, names)


def predicted(task, values, splits, **keywords):
    return majority_predictions(targets_for(task, values), splits, [0, 1], IDS, **keywords)


def replaced(values, rows):
    """The labels, with those of some rows equal to the first of them, which changes their counts and mean."""
    changed = values.copy()
    changed[rows] = values[rows[0]]
    return changed


def answers(task, values, splits):
    return {one.fold: one.probabilities.tobytes() for one in predicted(task, values, splits)}


@pytest.mark.parametrize("change", [permuted, replaced])
@pytest.mark.parametrize("task", TASKS)
def test_test_labels_change_nothing_for_their_fold(task, change):
    _, values, splits = corpus(task)
    own = splits[1]
    before, after = (answers(task, given, splits) for given in (values, change(values, own.test)))
    assert after[own.fold] == before[own.fold]
    if change is replaced:
        others = [split.fold for split in splits if np.isin(own.test, split.train).all()]
        assert len(others) == 2 and all(after[fold] != before[fold] for fold in others)


@pytest.mark.parametrize("task", TASKS)
def test_training_on_test_labels_would_be_noticed(task):
    _, values, splits = corpus(task)
    cheats = [replace(split, train=np.union1d(split.train, split.test)) for split in splits]
    own = cheats[1]
    before, after = (answers(task, given, cheats) for given in (values, replaced(values, own.test)))
    assert after[own.fold] != before[own.fold]


@pytest.mark.parametrize("task", TASKS)
def test_validation_labels_count_only_after_a_refit(task):
    _, values, splits = corpus(task)
    for refit in (False, True):
        for one, split in zip(predicted(task, values, splits, refit=refit)[::2], splits, strict=True):
            rows = np.union1d(split.train, split.valid) if refit else split.train
            assert one.probabilities[0].tobytes() == answer_of(targets_for(task, values), rows).tobytes()


def test_the_answer_of_each_task():
    classes = Targets("single-label", np.array([0, 2, 2, 2]), ("a", "b", "c"))
    assert answer_of(classes, np.arange(4)) == pytest.approx([2 / 7, 1 / 7, 4 / 7])
    several = Targets("multi-label", np.array([[1, 0], [1, 1], [1, 0], [1, 0]], np.float32), ("a", "b"))
    assert answer_of(several, np.arange(4)) == pytest.approx([1, 0.25])
    numbers = Targets("regression", np.array([1.0, 2.0, 6.0]), ())
    assert answer_of(numbers, np.arange(3)) == pytest.approx([3.0])


def test_a_class_without_training_clips_has_a_finite_log_loss():
    _, values, splits = corpus("single-label")
    train = splits[0].train
    one = replace(splits[0], train=train[values[train] != 3])
    found = predicted("single-label", values, [one])
    n_train = len(one.train)
    wanted = -np.mean(np.log(answer_of(targets_for("single-label", values), one.train))[values[one.test]])
    assert metrics.log_loss(found) == pytest.approx(wanted, rel=1e-6) and np.isfinite(wanted)
    assert found[0].probabilities[0, 3] == pytest.approx(1 / (n_train + 4))


def test_every_seed_has_the_same_rows_without_head_pooling_and_layer():
    _, values, splits = corpus("single-label")
    found = predicted("single-label", values, splits, run="toy")
    assert len(found) == 8 and {one.seed for one in found} == {0, 1}
    assert {(one.model, one.head, one.pooling, one.layer, one.run) for one in found} == {
        ("majority", "", "", "", "toy")
    }
