"""Precision, recall, F1 and balanced accuracy: values of scikit-learn, and intervals."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support

from heads.evaluation import metrics
from heads.evaluation.class_scores import balanced_accuracy_interval, class_estimates, ratio_interval
from heads.evaluation.predictions import Predictions
from heads.evaluation.statistics import accuracy_interval

N, C = 120, 4
GROUPS = np.arange(N) // 3


def predictions(seeds=(0, 1), task="single-label", n_classes=C):
    rng = np.random.default_rng(5)
    ids = np.array([f"c{row:03d}" for row in range(N)], dtype=object)
    truth = rng.choice(C, N, p=[0.4, 0.3, 0.2, 0.1])
    targets = truth if task == "single-label" else np.eye(C, dtype=np.int64)[truth] | (rng.random((N, C)) < 0.2)
    found = []
    for seed in seeds:
        logits = rng.normal(size=(N, n_classes))
        logits[np.arange(N), truth] += 1.5
        if n_classes > C:
            logits[:, C] = -9  # a class without test clips that is never predicted
        values = 1 / (1 + np.exp(-logits)) if task == "multi-label" else np.exp(logits)
        values = values if task == "multi-label" else values / values.sum(axis=1, keepdims=True)
        found.append(Predictions(values.astype(np.float32), targets, ids, 1, seed, "m", task=task))
    return found


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_values_are_means_of_scikit_learns_over_seeds(task):
    found = predictions(task=task)
    wanted = np.mean(
        [precision_recall_fscore_support(one.targets, one.predicted, labels=range(C))[:3] for one in found], axis=0
    )
    estimates = class_estimates(found, GROUPS)
    support = precision_recall_fscore_support(found[0].targets, found[0].predicted, labels=range(C))[3]
    for own in range(C):
        one = estimates[own]
        assert one.support == support[own]
        for estimate, value in zip((one.precision, one.recall, one.f1), wanted[:, own], strict=True):
            assert estimate[0] == pytest.approx(value) and 0 <= estimate[1] < estimate[0] < estimate[2] <= 1


def test_balanced_accuracy_is_that_of_scikit_learn():
    found = predictions()
    wanted = np.mean([balanced_accuracy_score(one.targets, one.predicted) for one in found])
    assert metrics.balanced_accuracy(found) == pytest.approx(wanted)
    low, high = balanced_accuracy_interval(found, GROUPS)
    assert 0 < low < wanted < high < 1


def test_recall_has_the_interval_of_an_accuracy_on_the_class():
    found = predictions()
    clips = metrics.clip_scores(found)
    for own, one in class_estimates(found, GROUPS).items():
        rows = (clips["target"] == own).to_numpy()
        wanted = accuracy_interval(clips["score"].to_numpy()[rows], GROUPS[rows])
        assert one.recall[1:] == pytest.approx(wanted)


def test_with_equal_classes_balanced_accuracy_has_the_interval_of_accuracy():
    truth = np.arange(N) % C
    right = np.random.default_rng(0).random(N) < 0.7
    values = np.eye(C, dtype=np.float32)[np.where(right, truth, (truth + 1) % C)]
    found = [Predictions(values, truth, np.array([f"c{row:03d}" for row in range(N)]), 1, 0, "m")]
    groups = np.arange(N) // 12  # each has every class equally often
    balanced = balanced_accuracy_interval(found, groups)
    wanted = accuracy_interval(right.astype(float), groups)
    assert balanced == pytest.approx(wanted, abs=0.03)


def test_undefined_scores_are_none():
    found = predictions(seeds=(0,), n_classes=C + 1)
    assert C not in class_estimates(found, GROUPS)
    never = [Predictions(np.eye(2)[np.zeros(N, int)], np.arange(N) % 2, found[0].ids, 1, 0, "m")]
    one = class_estimates(never, GROUPS)[1]
    assert one.precision is None and one.recall[0] == 0.0 and one.f1[0] == 0.0
    assert 0 < one.recall[2] < 1  # the interval has a width


def test_fewer_groups_make_intervals_wider():
    found = predictions(seeds=(0,))
    few, many = (class_estimates(found, np.arange(N) // size) for size in (20, 1))
    width = [np.mean([one.f1[2] - one.f1[1] for one in each.values()]) for each in (few, many)]
    assert width[0] > width[1]


def test_intervals_of_precision_cover_the_expected_value():
    """300 draws of 60 groups of correlated clips: the 95 % interval covers the true precision in most."""
    rng = np.random.default_rng(0)

    def drawn(n_groups):
        ease = rng.beta(4, 2, n_groups)[:, None]
        truth = rng.random((n_groups, 5)) < 0.5
        said = np.where(rng.random((n_groups, 5)) < ease, truth, ~truth)
        return (said & truth).reshape(1, -1).astype(float), said.reshape(1, -1).astype(float)

    hits, weights = drawn(200_000)
    true = hits.sum() / weights.sum()
    groups = np.repeat(np.arange(60), 5)
    covered = [low <= true <= high for _, low, high in (ratio_interval(*drawn(60), groups) for _ in range(300))]
    assert 0.91 <= np.mean(covered) <= 0.99


def test_a_baseline_that_every_group_scores_alike_counts_its_clips():
    """Each of six speakers says each of ten words; always answering one word is right in a tenth, for every speaker."""
    scores = np.tile((np.arange(10) == 0).astype(float), 6)
    low, high = accuracy_interval(scores, np.repeat(np.arange(6), 10))
    assert 0.02 < low < 0.1 < high < 0.3
    alone = accuracy_interval(np.ones(60), np.repeat(np.arange(6), 10))
    assert alone[0] < 0.6  # nothing is known about the variance, so a group counts as one observation
