"""ROC-AUC, average precision and equal error rate: scikit-learn's values, and a jackknife that leaves groups out."""

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from heads.evaluation.decisions.ranking_scores import mean_of, ranking_scores, replicate, worth_of_ranking


def equal_error(truth, scores):
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    return brentq(lambda at: 1 - at - interp1d(false, true)(at), 0, 1)


def references(truth, scores):
    return [roc_auc_score(truth, scores), average_precision_score(truth, scores), equal_error(truth, scores)]


def decisions(decimals=None, n=300):
    rng = np.random.default_rng(0)
    truth = rng.random(n) < 0.3
    scores = truth + rng.normal(size=n)
    return truth, scores if decimals is None else np.round(scores, decimals), np.arange(n) // 5


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_scores_are_those_of_scikit_learn_with_and_without_a_group(decimals):
    truth, scores, groups = decisions(decimals)
    found = replicate([[(scores, truth)]], groups)
    assert found.values == pytest.approx(references(truth, scores))
    for group in (0, 17, 59):
        kept = groups != group
        assert found.without[:, group] == pytest.approx(references(truth[kept], scores[kept]))


def test_several_columns_are_ranked_together():
    truth, scores, groups = decisions()
    other = np.roll(truth, 1), np.roll(scores, 1) + 0.5
    found = replicate([[(scores, truth), other[::-1]]], groups)
    joined = np.concatenate([truth, other[0]]), np.concatenate([scores, other[1]])
    assert found.values == pytest.approx(references(*joined))


def test_the_mean_over_classes_leaves_out_a_class_without_positive_decisions():
    truth, scores, groups = decisions()
    known, unknown = replicate([[(scores, truth)]], groups), replicate([[(scores, truth & False)]], groups)
    assert np.isnan(unknown.values).all()
    assert mean_of([known, unknown]).values == pytest.approx(known.values)
    assert ranking_scores(unknown, groups, 1.0).roc_auc is None


def test_equal_scores_tell_nothing():
    truth, _, groups = decisions()
    found = replicate([[(np.full(len(truth), 0.5), truth)]], groups)
    assert found.values == pytest.approx([0.5, truth.mean(), 0.5])
    low, high = ranking_scores(found, groups, worth_of_ranking(truth, groups)).roc_auc[1:]
    assert low < 0.5 < high


def test_a_perfect_ranking_has_an_interval_below_one():
    truth, _, groups = decisions()
    found = ranking_scores(replicate([[(truth * 1.0, truth)]], groups), groups, worth_of_ranking(truth, groups))
    assert found.roc_auc[0] == found.average_precision[0] == 1 and found.equal_error_rate[0] == 0
    assert 0.8 < found.roc_auc[1] < 1 and 0 < found.equal_error_rate[2] < 0.2


def test_one_group_knows_nothing_about_others():
    truth, scores, groups = decisions()
    found = ranking_scores(replicate([[(scores, truth)]], groups * 0), groups * 0, 1.0)
    assert found.roc_auc[1:] == (0.0, 1.0)


def test_the_worth_is_the_number_of_groups_of_the_rarer_side():
    groups = np.repeat(np.arange(10), 4)
    truth = np.tile([True, False, False, False], 10)
    assert worth_of_ranking(truth, groups) == pytest.approx(10)
    assert worth_of_ranking(truth & (groups < 3), groups) == pytest.approx(3)
