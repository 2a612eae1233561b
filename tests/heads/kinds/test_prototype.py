"""The prototype head: class means and distances as published, a temperature that minimises left-out log loss."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from features.errors import ConfigError
from heads.batched.prototypes import Prototypes, learnt_scale
from heads.kinds.prototype import PrototypeOptions, predict_prototype
from heads.training.train import train_head
from tests.heads.training.test_leak import N_CLASSES, corpus

DIMS = 5


def rows_of(seed=0, n=40, n_classes=3, directed=False):
    """Rows of clusters that overlap, and their classes."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % n_classes
    rows = rng.normal(size=(n, DIMS)) + rng.normal(size=(n_classes, DIMS))[classes]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if directed else rows, classes


def left_out(rows, classes, metric):
    """Scores (n, C) by the definition: each row is left out of the mean of its class."""
    scores = np.empty((len(rows), classes.max() + 1))
    for at, row in enumerate(rows):
        for label in range(scores.shape[1]):
            others = (classes == label) & (np.arange(len(rows)) != at)
            mean = rows[others].mean(0)
            near = row @ mean / np.linalg.norm(mean)
            scores[at, label] = near if metric == "cosine" else -np.square(row - mean).mean()
    return scores


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_scale_minimises_the_log_loss_of_rows_left_out(metric):
    rows, classes = rows_of(directed=metric == "cosine")
    members = torch.eye(3, dtype=torch.float64)[torch.from_numpy(classes)]
    scores = left_out(rows, classes, metric)

    def loss(log_scale):
        return -log_softmax(np.exp(log_scale) * scores, axis=1)[np.arange(len(rows)), classes].mean()

    expected = np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-8}).x)
    prototypes = Prototypes(torch.from_numpy(rows), members, "single-label", metric)
    assert learnt_scale(prototypes, torch.from_numpy(rows), members) == pytest.approx(expected, rel=1e-4)
    found, others = prototypes.without_itself(torch.from_numpy(rows), members)
    assert bool(others.all())
    shifted = found.numpy() - (np.square(rows).mean(1, keepdims=True) if metric == "euclidean" else 0)
    np.testing.assert_allclose(shifted, scores, atol=1e-12)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_probabilities_are_a_softmax_of_distances_to_class_means(metric):
    features, targets, splits = corpus("single-label")
    options = PrototypeOptions(metric=metric, temperature=0.5, layers=[2])
    fit = train_head(options, features, targets, splits[:1], [0], n_classes=N_CLASSES).fits[0]
    train = features[splits[0].train, 2].astype(np.float64)
    mean, scale = train.mean(0), train.std(0)
    x, rows = ((values - mean) / scale for values in (features[splits[0].test, 2], train))
    if metric == "cosine":
        x, rows = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (x, rows))
    means = np.stack([rows[targets[splits[0].train] == label].mean(0) for label in range(N_CLASSES)])
    if metric == "cosine":
        scores = x @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    else:
        scores = -np.square(x[:, None] - means).mean(-1)
    np.testing.assert_allclose(fit.probabilities, np.exp(log_softmax(scores / 0.5, axis=1)), atol=1e-5)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_it_learns_and_a_fold_alone_gives_the_same_bits(task):
    features, targets, splits = corpus(task)
    how = {"n_classes": N_CLASSES, "task": task}
    together = train_head(PrototypeOptions(), features, targets, splits, [0], **how).fits
    for split, fit in zip(splits, together, strict=True):
        alone = train_head(PrototypeOptions(), features, targets, [split], [0], **how).fits[0]
        assert np.array_equal(alone.probabilities, fit.probabilities)
        assert alone.state.keys() == fit.state.keys()
        assert all(np.array_equal(alone.state[key], fit.state[key]) for key in fit.state)
    if task == "single-label":
        pairs = zip(splits, together, strict=True)
        right = [(fit.probabilities.argmax(1) == targets[split.test]).mean() for split, fit in pairs]
        assert np.mean(right) > 1.5 / N_CLASSES


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_classes_with_one_clip_or_none_are_no_failure(task):
    classes = np.array([0, 0, 1, 1, 2, 0, 1])
    members = torch.eye(4, dtype=torch.float64)[torch.from_numpy(classes)]
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(7, DIMS)))
    prototypes = Prototypes(rows, members, task, "euclidean")
    assert np.isfinite(learnt_scale(prototypes, rows, members))
    weight, bias, known = prototypes.scorer()
    state = {
        "mean": np.zeros(DIMS),
        "scale": np.ones(DIMS),
        "weight_0": weight.numpy(),
        "bias_0": bias.numpy(),
        "directed": np.array([False]),
    }
    found = predict_prototype(state, rows.numpy(), task)
    assert known.tolist() == [True, True, True, False]
    assert np.isfinite(found).all() and (found[:, 3] < 1e-6).all()


def test_only_single_clips_leave_the_scale_at_one():
    rows, members = torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    assert learnt_scale(Prototypes(rows, members, "single-label", "euclidean"), rows, members) == 1.0


def test_numbers_are_refused_in_one_line():
    features, targets, splits = corpus("regression")
    with pytest.raises(ConfigError, match="name: prototype needs classes, but the labels are numbers"):
        train_head(PrototypeOptions(), features, targets, splits, [0], n_classes=1, task="regression")
    with pytest.raises(ValueError, match="temperature"):
        PrototypeOptions(temperature=[0.0])
    with pytest.raises(ValueError, match="temperature"):
        PrototypeOptions(temperature="learnt")
