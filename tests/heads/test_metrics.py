"""Metrics: hand-counted cases, pooled over folds and averaged over seeds."""

import numpy as np
import pytest

from heads.metrics import (
    accuracy,
    clip_scores,
    fold_scores,
    log_loss,
    macro_f1,
    mean_of_folds,
    per_class_accuracy,
    pool,
    seed_scores,
)
from heads.predictions import Predictions


def said(targets, predicted, fold=1, seed=0, first=0, sure=0.8, n_classes=3, model="m"):
    probabilities = np.full((len(targets), n_classes), (1 - sure) / (n_classes - 1), dtype=np.float64)
    probabilities[np.arange(len(targets)), predicted] = sure
    ids = np.array([f"c{first + row}" for row in range(len(targets))], dtype=object)
    return Predictions(probabilities, np.array(targets), ids, fold, seed, model)


# Fold 1 has four clips and fold 2 two; seed 0 is right on 3 + 1, seed 1 on 2 + 2.
RUNS = [
    said([0, 0, 1, 2], [0, 0, 1, 0]),
    said([1, 2], [1, 1], fold=2, first=4),
    said([0, 0, 1, 2], [0, 1, 1, 1], seed=1),
    said([1, 2], [1, 2], fold=2, seed=1, first=4),
]


def test_accuracy_pools_folds_and_averages_seeds():
    assert accuracy(RUNS) == pytest.approx(4 / 6)
    assert seed_scores(RUNS) == pytest.approx({0: 4 / 6, 1: 4 / 6})
    assert fold_scores(RUNS) == pytest.approx({1: 5 / 8, 2: 3 / 4})
    assert mean_of_folds(RUNS) == pytest.approx(11 / 16)


def test_macro_f1_is_the_mean_of_the_classes():
    f1 = np.mean([[4 / 5, 4 / 5, 0], [2 / 3, 2 / 3, 2 / 3]])
    assert macro_f1(RUNS) == pytest.approx(f1)


def test_log_loss_clips_a_sure_mistake():
    assert log_loss([said([0, 1], [0, 2])]) == pytest.approx(-(np.log(0.8) + np.log(0.1)) / 2)
    assert log_loss([said([0], [1], sure=1.0)]) == pytest.approx(-np.log(1e-7))


def test_per_class_accuracy_leaves_untested_classes_open():
    assert per_class_accuracy(RUNS) == pytest.approx([3 / 4, 1.0, 1 / 4])
    assert np.isnan(per_class_accuracy([said([0, 1], [0, 1])])[2])


def test_clip_scores_are_shares_of_seeds_by_id():
    scores = clip_scores(RUNS[::-1])
    assert scores.index.tolist() == [f"c{k}" for k in range(6)]
    assert scores["score"].tolist() == [1, 0.5, 1, 0, 1, 0.5]
    assert scores["target"].tolist() == [0, 0, 1, 2, 1, 2]


def test_what_cannot_be_pooled_is_refused():
    with pytest.raises(ValueError, match="no predictions"):
        accuracy([])
    with pytest.raises(ValueError, match="2 models"):
        pool([*RUNS, said([0], [0], model="other", first=9)])
    with pytest.raises(ValueError, match="4 clips were tested more than once"):
        pool([RUNS[0], RUNS[0]])
    with pytest.raises(ValueError, match="different clips"):
        pool(RUNS[:3])
