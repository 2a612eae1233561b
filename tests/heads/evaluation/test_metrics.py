"""Metrics: hand-counted cases, pooled over folds and averaged over seeds."""

from dataclasses import replace

import numpy as np
import pytest

from heads.evaluation.metrics import (
    accuracy,
    class_average_precision,
    clip_scores,
    concordance,
    correlation,
    draw_scores,
    fold_scores,
    log_loss,
    macro_f1,
    mean_average_precision,
    micro_f1,
    per_class_accuracy,
    pool,
    seed_scores,
    spread,
    squared_error,
)
from heads.evaluation.predictions import Predictions


def predictions(targets, predicted, fold=1, seed=0, first=0, sure=0.8, n_classes=3, model="m"):
    probabilities = np.full((len(targets), n_classes), (1 - sure) / (n_classes - 1), dtype=np.float64)
    probabilities[np.arange(len(targets)), predicted] = sure
    ids = np.array([f"c{first + row}" for row in range(len(targets))], dtype=object)
    return Predictions(probabilities, np.array(targets), ids, fold, seed, model)


# Fold 1 has four clips and fold 2 two; seed 0 is right on 3 + 1, seed 1 on 2 + 2.
RUNS = [
    predictions([0, 0, 1, 2], [0, 0, 1, 0]),
    predictions([1, 2], [1, 1], fold=2, first=4),
    predictions([0, 0, 1, 2], [0, 1, 1, 1], seed=1),
    predictions([1, 2], [1, 2], fold=2, seed=1, first=4),
]


def test_accuracy_pools_folds_and_averages_seeds():
    assert accuracy(RUNS) == pytest.approx(4 / 6)
    assert seed_scores(RUNS) == pytest.approx({0: 4 / 6, 1: 4 / 6})
    assert fold_scores(RUNS) == pytest.approx({1: 5 / 8, 2: 3 / 4})


def test_macro_f1_is_the_mean_of_the_classes():
    f1 = np.mean([[4 / 5, 4 / 5, 0], [2 / 3, 2 / 3, 2 / 3]])
    assert macro_f1(RUNS) == pytest.approx(f1)


def test_log_loss_clips_a_sure_mistake():
    assert log_loss([predictions([0, 1], [0, 2])]) == pytest.approx(-(np.log(0.8) + np.log(0.1)) / 2)
    assert log_loss([predictions([0], [1], sure=1.0)]) == pytest.approx(-np.log(1e-7))


def test_per_class_accuracy_leaves_untested_classes_open():
    assert per_class_accuracy(RUNS) == pytest.approx([3 / 4, 1.0, 1 / 4])
    assert np.isnan(per_class_accuracy([predictions([0, 1], [0, 1])])[2])


def test_clip_scores_are_shares_of_seeds_by_id():
    scores = clip_scores(RUNS[::-1])
    assert scores.index.tolist() == [f"c{k}" for k in range(6)]
    assert scores["score"].tolist() == [1, 0.5, 1, 0, 1, 0.5]
    assert scores["target"].tolist() == [0, 0, 1, 2, 1, 2]


def test_draws_are_repetitions_like_seeds():
    drawn = [replace(one, draw=one.seed, seed=0) for one in RUNS]
    assert accuracy(drawn) == accuracy(RUNS) and clip_scores(drawn).equals(clip_scores(RUNS))
    assert draw_scores(drawn) == seed_scores(RUNS) and list(seed_scores(drawn)) == [0]
    assert spread(draw_scores([*drawn, *(replace(one, draw=9) for one in drawn if one.draw)]).values()) == 0
    assert spread(seed_scores(drawn).values()) is None
    assert spread([0.5, 0.7]) == pytest.approx(np.sqrt(0.02))


def several(truth, outputs, **fields):
    ids = np.array([f"c{row:03d}" for row in range(len(truth))], dtype=object)
    return Predictions(np.array(outputs), np.array(truth), ids, 1, 0, "m", task="multi-label", **fields)


def test_precision_and_f1_of_lists_are_hand_counted():
    truth = [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]]
    outputs = [[0.9, 0.2, 0.1], [0.8, 0.6, 0.1], [0.7, 0.1, 0.1], [0.1, 0.7, 0.2]]
    one = several(truth, outputs)
    by_class = class_average_precision([one])
    assert by_class[:2] == pytest.approx([(1 + 2 / 3) / 2, 1 / 2]) and np.isnan(by_class[2])
    assert mean_average_precision([one]) == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert macro_f1([one]) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert micro_f1([one]) == pytest.approx(2 * 3 / (5 + 3))


def test_concordance_is_lins():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    outputs = (0.5 * truth + 0.3 + 0.1 * rng.normal(size=50)).astype(np.float64)
    one = Predictions(outputs[:, None], truth, np.arange(50).astype(str), 1, 0, "m", task="regression")
    r = np.corrcoef(outputs, truth)[0, 1]
    bias = 2 / (
        outputs.std() / truth.std()
        + truth.std() / outputs.std()
        + (outputs.mean() - truth.mean()) ** 2 / (outputs.std() * truth.std())
    )
    assert concordance([one]) == pytest.approx(r * bias)
    assert correlation([one]) == pytest.approx(r)
    assert squared_error([one]) == pytest.approx(np.mean((outputs - truth) ** 2))
    constant = replace(one, probabilities=np.ones((50, 1)))
    assert concordance([constant]) == correlation([constant]) == 0


def test_what_cannot_be_pooled_is_refused():
    with pytest.raises(ValueError, match="no predictions"):
        accuracy([])
    with pytest.raises(ValueError, match="2 models"):
        pool([*RUNS, predictions([0], [0], model="other", first=9)])
    with pytest.raises(ValueError, match="4 clips were tested more than once"):
        pool([RUNS[0], RUNS[0]])
    with pytest.raises(ValueError, match="different clips"):
        pool(RUNS[:3])
