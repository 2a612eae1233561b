"""Linear heads: the optimum that scikit-learn finds, for every task, alone as in the batch."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from heads.kinds import linear
from heads.kinds.linear import LinearOptions
from heads.kinds.registry import predict
from heads.splits.protocol import Split
from heads.training.train import train_head

PATH = [1.0, 0.1, 1e-2, 1e-3, 1e-4]


def clips(task="single-label", n=150, dim=33, n_layers=1, n_classes=5, noise=2.0, seed=0):
    """Features that tell something of the targets, classes of unequal size, and three unequal folds."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_classes, dim))
    classes = rng.permutation(np.minimum(rng.geometric(0.35, size=n) - 1 + (np.arange(n) < n_classes), n_classes - 1))
    classes[[0, 40, 80]] = classes[[1, 41, 81]] = n_classes - 1
    members = rng.random((n, n_classes)) < 0.25
    if task == "single-label":
        targets, signal = classes, centres[classes]
    elif task == "multi-label":
        targets, signal = members.astype(np.float32), members @ centres
    else:
        signal = rng.normal(size=(n, dim))
        targets = signal @ centres[0] * 10 + 300
    layers = [signal + noise * (n_layers - layer) * rng.normal(size=(n, dim)) for layer in range(n_layers)]
    fold = np.minimum(np.arange(n) // (n // 4), 2)
    splits = [Split(f"f{k}", *(np.flatnonzero(fold == (k + j) % 3) for j in (2, 1, 0))) for k in range(3)]
    return (np.stack(layers, 1) * 3 + 1).astype(np.float32), targets, splits


def train(options, data, task="single-label", **kwargs):
    features, targets, splits = data
    n_outputs = {"single-label": lambda: 5, "multi-label": lambda: targets.shape[1], "regression": lambda: 1}[task]()
    return train_head(options, features, targets, splits, [0], n_classes=n_outputs, task=task, **kwargs)


def standardised(features, split):
    rows = features[:, 0].astype(float)
    return (rows - rows[split.train].mean(0)) / rows[split.train].std(0)


def reference(rows, targets, split, l2, class_weight):
    """scikit-learn's probabilities of the test rows."""
    model = LogisticRegression(C=1 / (l2 * len(split.train)), tol=1e-10, max_iter=50_000, class_weight=class_weight)
    return model.fit(rows[split.train], targets[split.train]).predict_proba(rows[split.test])


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("dim", [33, 300])  # fewer and more columns than training rows
def test_single_label_is_the_optimum_that_scikit_learn_finds(dim, class_weight):
    features, targets, splits = data = clips(dim=dim)
    for l2 in (0.3, 1e-3):
        for fit, split in zip(train(LinearOptions(l2=l2, class_weight=class_weight), data).fits, splits, strict=True):
            expected = reference(standardised(features, split), targets, split, l2, class_weight)
            assert np.abs(fit.probabilities - expected).max() < 1e-5


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_multi_label_is_one_logistic_regression_per_class(class_weight):
    features, targets, splits = data = clips("multi-label")
    for l2 in (0.3, 1e-3):
        options = LinearOptions(l2=l2, class_weight=class_weight)
        for fit, split in zip(train(options, data, "multi-label").fits, splits, strict=True):
            rows = standardised(features, split)
            for label in range(targets.shape[1]):
                expected = reference(rows, targets[:, label], split, l2, class_weight)[:, 1]
                assert np.abs(fit.probabilities[:, label] - expected).max() < 1e-5


@pytest.mark.parametrize("dim", [33, 300])
def test_regression_is_scikit_learns_ridge(dim):
    features, targets, splits = data = clips("regression", dim=dim)
    for l2 in (1.0, 1e-2):
        for fit, split in zip(train(LinearOptions(l2=l2), data, "regression").fits, splits, strict=True):
            rows = standardised(features, split)
            model = Ridge(alpha=l2 * len(split.train)).fit(rows[split.train], targets[split.train])
            assert np.allclose(fit.probabilities[:, 0], model.predict(rows[split.test]), rtol=1e-5)


def test_class_weights_change_the_fit():
    data = clips()
    plain, balanced = (train(LinearOptions(l2=0.1, class_weight=how), data).fits[0] for how in (None, "balanced"))
    assert np.abs(plain.probabilities - balanced.probabilities).max() > 0.01


@pytest.mark.parametrize("task", ["single-label", "multi-label", "regression"])
@pytest.mark.parametrize("together", [False, True])
def test_a_fit_is_the_same_alone_as_in_the_batch(task, together):
    features, targets, splits = data = clips(task, n_layers=3)
    batch = train(LinearOptions(l2=PATH), data, task, together=together)
    for fit, split in zip(batch.fits, splits, strict=True):
        path = train(LinearOptions(l2=[*PATH, 3.0], layers=[fit.layer]), data, task, together=together)
        for l2 in {fit.configuration["l2"], PATH[-1]}:
            alone = train(LinearOptions(l2=l2, layers=[fit.layer]), (features, targets, [split]), task).fits[0]
            losses = {
                score.configuration["l2"]: score.valid_loss
                for result in (batch, path)
                for score in result.candidates[split.fold, 0]
                if score.layer == fit.layer
            }
            assert abs(losses[l2] - alone.valid_loss) < 1e-6
            if l2 == fit.configuration["l2"]:
                scale = np.abs(targets).max()
                assert np.abs(alone.probabilities - fit.probabilities).max() < 1e-5 * max(1, scale)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_a_job_beyond_the_budget_is_cut_and_gives_the_same(monkeypatch, task):
    data = clips(task, n_layers=2)
    whole = train(LinearOptions(l2=PATH), data, task, together=True)
    for stack, budget in ((1, linear.BUDGET_BYTES), (1, 1)):  # a block at a time, a penalty at a time
        monkeypatch.setattr(linear, "CPU_STACK_BYTES", stack)
        monkeypatch.setattr(linear, "BUDGET_BYTES", budget)
        cut = train(LinearOptions(l2=PATH), data, task, together=True)
        for one, other in zip(whole.fits, cut.fits, strict=True):
            assert one.configuration == other.configuration
            assert np.abs(one.probabilities - other.probabilities).max() < 1e-5
        for fold, scores in whole.candidates.items():
            losses = [[score.valid_loss for score in found] for found in (scores, cut.candidates[fold])]
            assert np.allclose(*losses, atol=1e-6)


def test_a_folds_bits_depend_on_its_own_rows_alone():
    features, targets, splits = clips(n_layers=2)
    before = train(LinearOptions(l2=PATH), (features, targets, splits)).fits[1]
    changed = features.copy()
    changed[splits[1].test] += 100
    after = train(LinearOptions(l2=PATH), (changed, targets, splits)).fits[1]
    assert all(np.array_equal(before.state[name], after.state[name]) for name in before.state)


@pytest.mark.parametrize("l2", [1e-8, 1e4])
def test_extreme_penalties_converge(l2):
    """At 1e-8 nearly every training row is fitted for sure: little curvature is left to see."""
    features, targets, splits = data = clips(noise=1.0)
    for fit, split in zip(train(LinearOptions(l2=l2), data).fits, splits, strict=True):
        rows = torch.from_numpy(standardised(features, split)[split.train])
        trained = (fit.state[name].astype(float) for name in ("weight_0", "bias_0"))
        weight, bias = (torch.tensor(values, requires_grad=True) for values in trained)
        loss = torch.nn.functional.cross_entropy(rows @ weight + bias, torch.from_numpy(targets[split.train]))
        (loss + l2 / 2 * weight.square().sum()).backward()
        # Weights are kept in single precision, which l2 and the curvature turn into a gradient.
        assert weight.grad.abs().max() < 1e-6 + 1e-6 * l2 * weight.abs().max()
        assert bias.grad.abs().max() < 1e-6


def test_a_label_that_every_training_clip_has_is_near_certain():
    features, targets, splits = clips("multi-label")
    targets[:, 2] = 1
    for fit in train(LinearOptions(l2=0.1), (features, targets, splits), "multi-label").fits:
        assert fit.probabilities[:, 2].min() > 1 - 1e-6
        assert np.isfinite(fit.valid_loss)


def test_without_validation_rows_the_one_penalty_is_used():
    features, targets, splits = clips()
    bare = [Split(split.fold, split.train, split.valid[:0], split.test) for split in splits]
    given, without = (train(LinearOptions(l2=0.1), (features, targets, found)) for found in (splits, bare))
    for one, other in zip(given.fits, without.fits, strict=True):
        assert np.isnan(other.valid_loss) and np.array_equal(one.probabilities, other.probabilities)


def test_refit_trains_on_validation_rows_too():
    features, targets, splits = data = clips("multi-label")
    for fit, split in zip(train(LinearOptions(l2=0.1), data, "multi-label", refit=True).fits, splits, strict=True):
        joined = Split(split.fold, np.union1d(split.train, split.valid), split.valid[:0], split.test)
        expected = train(LinearOptions(l2=0.1), (features, targets, [joined]), "multi-label").fits[0]
        assert np.array_equal(fit.probabilities, expected.probabilities)


def test_counted_parameters_are_weights_and_biases():
    fit = train(LinearOptions(l2=0.1), clips()).fits[0]
    assert fit.params_trained == 33 * 5 + 5
    assert predict("linear", fit.state, np.zeros((2, 33))).shape == (2, 5)
