"""Heads trained without a class: scikit-learn's scores, no row of the class in training, and scores before softmax."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from features.labels import Task
from heads.evaluation.decisions.unknown_classes import unknown_auroc
from heads.kinds.linear import LinearOptions
from heads.kinds.registry import HEADS, head_type, options_class
from heads.splits.split import Split
from heads.splits.targets import Targets
from heads.splits.without_class import WithoutClass, targets_without
from heads.training.open_set import known_scores
from heads.training.train import train_head
from tests.heads.training.test_leak import SMALL, as_read

N, DIM, L2 = 240, 6, 0.03
NAMES = ("far", "left", "right", "between")


def clips() -> tuple[np.ndarray, Targets, list[Split]]:
    """Gaussians in three folds: one class far away, and one between two others, which is hard to tell from them."""
    rng = np.random.default_rng(0)
    values = rng.permutation(np.arange(N) % 4)
    centres = np.zeros((4, DIM))
    centres[0, :2], centres[1, 2], centres[2, 2], centres[3, 3] = 5, 2, -2, 1
    rows = np.arange(N)
    splits = [Split(fold, *(rows[(rows + fold + step) % 3 == 0] for step in (2, 1, 0))) for fold in range(3)]
    features = (centres[values] + rng.normal(size=(N, DIM)))[:, None].astype(np.float32)
    return features, Targets("single-label", values, NAMES), splits


def trained(features, targets, splits, held_out, options=None, seeds=(0,)):
    """The scores of each fit without a class."""
    known, parts = targets_without(targets, held_out), WithoutClass(splits, targets.values, held_out)
    options = options or LinearOptions(l2=[L2])
    result = train_head(options, features, known.values, parts, seeds, n_classes=3, keep_scores=True)
    return [known_scores(fit, np.arange(3)) for fit in result.fits]


def pooled(scores, name):
    """Scores of all clips in the order of their rows, shape (1, N)."""
    found = np.empty(N)
    for one in scores:
        found[one.fit.test_rows] = getattr(one, name)
    return found[None]


def reference(features, targets, splits, held_out):
    """Highest probability and energy by scikit-learn's fits on the rows of the other classes."""
    highest, energy = np.empty(N), np.empty(N)
    for split in splits:
        train = split.train[targets.values[split.train] != held_out]
        own, rows = features[train, 0].astype(float), features[split.test, 0].astype(float)
        mean, scale = own.mean(axis=0), own.std(axis=0)
        model = LogisticRegression(C=1 / (L2 * len(train)), tol=1e-10, max_iter=10_000)
        model.fit((own - mean) / scale, targets.values[train])
        highest[split.test] = model.predict_proba((rows - mean) / scale).max(axis=1)
        scores = model.decision_function((rows - mean) / scale) - model.intercept_.mean()
        energy[split.test] = logsumexp(scores, axis=1)
    return {"max_probability": highest, "energy": energy}


@pytest.mark.parametrize("name", ["max_probability", "energy"])
def test_areas_are_those_of_scikit_learn_s_fits_without_the_class(name):
    features, targets, splits = clips()
    scores = {own: pooled(trained(features, targets, splits, own), name) for own in range(4)}
    each, mean = unknown_auroc(scores, targets.values, np.arange(N))
    for own in range(4):
        expected = reference(features, targets, splits, own)[name]
        assert scores[own][0] == pytest.approx(expected, abs=1e-4)
        value, low, high = each[own]
        assert value == pytest.approx(roc_auc_score(targets.values != own, expected), abs=1e-3)
        assert low < value < high
    assert mean[0] == pytest.approx(np.mean([value for value, _, _ in each.values()]))
    assert each[3][0] > 0.6  # between two classes, so neither is certain


def test_no_row_of_the_class_is_trained_or_validated():
    features, targets, splits = clips()
    options = LinearOptions(l2=[1.0, 0.1, 0.01])
    before = trained(features, targets, splits, 2, options)
    changed, is_held_out = features.copy(), targets.values == 2
    for at, split in enumerate(splits):
        one = changed.copy()
        inside = np.concatenate([split.train, split.valid])
        one[inside[is_held_out[inside]]] *= -30
        after = trained(one, targets, splits, 2, options)[at]
        for name in ("weight_0", "bias_0", "mean", "scale"):
            assert np.array_equal(after.fit.state[name], before[at].fit.state[name])
        assert np.array_equal(after.energy, before[at].energy)
        assert after.fit.configuration == before[at].fit.configuration
    one[np.concatenate([splits[0].train, splits[0].valid])] *= -30  # the check above sees a change of other rows
    assert not np.array_equal(trained(one, targets, splits, 2, options)[0].energy, before[0].energy)


def test_splits_keep_the_class_in_the_test_rows_only():
    _, targets, splits = clips()
    parts = WithoutClass(splits, targets.values, 1)
    for split, part in zip(splits, parts, strict=True):
        assert np.array_equal(part.test, split.test) and 1 in targets.values[part.test]
        for side in ("train", "valid"):
            before = getattr(split, side)
            assert np.array_equal(getattr(part, side), before[targets.values[before] != 1])
    known = targets_without(targets, 1)
    assert known.names == ("far", "right", "between")
    others = targets.values != 1
    assert [known.names[own] for own in known.values[others]] == [NAMES[own] for own in targets.values[others]]


@pytest.mark.parametrize("name", HEADS)
def test_scores_are_those_before_the_softmax(name):
    features, targets, splits = clips()
    features = np.repeat(features, 3, axis=1)  # layers
    options = options_class(name).model_validate({"name": name, **SMALL.get(name, {})})
    given = as_read(options, features)
    task: Task = "single-label"
    known, parts = targets_without(targets, 0), WithoutClass(splits, targets.values, 0)
    result = train_head(options, given, known.values, parts[:1], [0, 1], n_classes=3, task=task, keep_scores=True)
    for fit in result.fits:
        if head_type(name).graph is None:
            assert fit.scores is None and known_scores(fit, np.arange(3)).energy is None
        else:
            assert softmax(fit.scores.astype(float), axis=1) == pytest.approx(fit.probabilities, abs=1e-5)


def test_a_class_that_is_not_known_does_not_count():
    features, targets, splits = clips()
    (one, *_) = trained(features, targets, splits, 0)
    found = known_scores(one.fit, np.array([0, 2]))
    assert np.array_equal(found.max_probability, one.fit.probabilities[:, [0, 2]].max(axis=1))
    shifted = one.fit.scores[:, [0, 2]] - one.fit.state["bias_0"][[0, 2]].mean()
    assert found.energy == pytest.approx(logsumexp(shifted, axis=1), abs=1e-5)


def test_energies_do_not_depend_on_a_shift_of_all_scores():
    features, targets, splits = clips()
    (one, *_) = trained(features, targets, splits, 0)
    bias = one.fit.state["bias_0"] + np.float32(3)
    moved = {**vars(one.fit), "state": {**one.fit.state, "bias_0": bias}, "scores": one.fit.scores + np.float32(3)}
    assert known_scores(type(one.fit)(**moved), np.arange(3)).energy == pytest.approx(one.energy, abs=1e-5)


def test_repetitions_are_averaged_and_groups_widen_the_interval():
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 3
    scores = {own: rng.normal(size=(2, 60)) + (classes != own) for own in range(3)}
    alone, _ = unknown_auroc(scores, classes, np.arange(60))
    for own in range(3):
        areas = [roc_auc_score(classes != own, one) for one in scores[own]]
        assert alone[own][0] == pytest.approx(np.mean(areas))
    tripled = {own: np.tile(values, 4) for own, values in scores.items()}
    grouped, _ = unknown_auroc(tripled, np.tile(classes, 4), np.tile(np.arange(60), 4))
    independent, _ = unknown_auroc(tripled, np.tile(classes, 4), np.arange(240))
    for own in range(3):
        assert grouped[own][2] - grouped[own][1] > 1.5 * (independent[own][2] - independent[own][1])
