"""Training: the right optimum, no test row in it, and the same fit alone as in a batch."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from features.errors import ConfigError, RunError
from heads.batched.rng import initial_layers, row_order
from heads.batched.stepped import plan as stepping
from heads.kinds.linear import LinearOptions
from heads.kinds.mlp import MlpOptions
from heads.kinds.registry import predict
from heads.splits.protocol import Split
from heads.training.train import train_head

N_CLASSES = 5
LINEAR = LinearOptions(l2=[1.0, 0.1, 1e-2, 1e-3])
MLP = MlpOptions(hidden=[24, [17, 9]], learning_rate=[1e-2, 1e-3], dropout=0.3, max_epochs=12, patience=3)


def clips(n=150, n_layers=2, dim=33, noise=2.0, seed=0):
    """Features whose last layer tells the classes apart best, with targets and three unequal folds."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(n) % N_CLASSES)
    centres = rng.normal(size=(N_CLASSES, dim))
    features = [centres[targets] + noise * (n_layers - layer) * rng.normal(size=(n, dim)) for layer in range(n_layers)]
    fold = np.minimum(np.arange(n) // (n // 4), 2)  # the last fold is twice as large
    splits = [Split(f"f{k}", *(np.flatnonzero(fold == (k + j) % 3) for j in (2, 1, 0))) for k in range(3)]
    return (np.stack(features, 1) * 3 + 1).astype(np.float32), targets, splits


def train(options, data, seeds=(0, 1), **kwargs):
    features, targets, splits = data
    return train_head(options, features, targets, splits, list(seeds), n_classes=N_CLASSES, **kwargs)


def log_loss(state, rows, targets):
    return -np.log(predict("mlp", state, rows)[np.arange(len(rows)), targets]).mean()


def accuracy(result, targets):
    return np.mean([(fit.probabilities.argmax(1) == targets[fit.test_rows]).mean() for fit in result.fits])


@pytest.mark.parametrize("options", [LINEAR, MLP], ids=["linear", "mlp"])
def test_a_head_learns_what_can_be_learnt(options):
    data = clips(noise=0.5)
    result = train(options, data)
    assert [(fit.fold, fit.seed) for fit in result.fits] == [(f"f{k}", seed) for k in range(3) for seed in (0, 1)]
    assert accuracy(result, data[1]) > 0.95
    for fit in result.fits:
        assert fit.probabilities.dtype == np.float32
        assert np.allclose(fit.probabilities.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("options", [LINEAR, MLP], ids=["linear", "mlp"])
def test_nothing_chosen_or_trained_depends_on_test_rows(options):
    features, targets, splits = clips()
    before = train(options, (features, targets, splits))
    rng = np.random.default_rng(1)
    test = splits[1].test
    other_targets, other_features = targets.copy(), features.copy()
    other_targets[test] = (targets[test] + rng.integers(1, N_CLASSES, len(test))) % N_CLASSES
    other_features[test] = rng.normal(size=features[test].shape) * 50
    for name, changed in {"targets": (features, other_targets), "features": (other_features, targets)}.items():
        after = train(options, (*changed, splits))
        assert before.candidates["f1", 0] == after.candidates["f1", 0], name
        for one, other in zip(before.fits, after.fits, strict=True):
            same = all(np.array_equal(one.state[key], other.state[key]) for key in one.state)
            same &= (one.configuration, one.layer, one.epochs) == (other.configuration, other.layer, other.epochs)
            assert same == (one.fold == "f1"), f"{name} of f1's test rows, fit of {one.fold}"


@pytest.mark.parametrize("options", [LINEAR, MLP], ids=["linear", "mlp"])
def test_the_candidate_with_the_lowest_validation_log_loss_is_chosen(options):
    features, targets, splits = data = clips()
    result = train(options, data, layer_names=[3, 7])
    for split in splits:
        scores = result.candidates[split.fold, 0]
        assert len(scores) == len(options.configurations()) * 2
        best = min(scores, key=lambda score: score.valid_loss)
        fits = [fit for fit in result.fits if fit.fold == split.fold]
        assert {(str(fit.configuration), fit.layer) for fit in fits} == {(str(best.configuration), best.layer)}
        valid = [log_loss(f.state, features[split.valid, (3, 7).index(f.layer)], targets[split.valid]) for f in fits]
        assert np.allclose(valid, [fit.valid_loss for fit in fits], atol=1e-5)
        assert np.isclose(np.mean(valid), best.valid_loss, atol=1e-5)


def test_seeds_do_not_change_linear_and_do_change_mlp():
    data = clips()
    by_head = {}
    for options in (LINEAR, MLP):
        first, second = train(options, data).fits[:2]
        by_head[options.name] = np.array_equal(first.probabilities, second.probabilities)
    assert by_head == {"linear": True, "mlp": False}


@pytest.mark.parametrize("options", [LINEAR, MLP], ids=["linear", "mlp"])
@pytest.mark.parametrize("together", [False, True])
def test_a_fit_is_the_same_alone_as_in_the_batch(options, together):
    features, targets, splits = clips()
    batch = train(options, (features, targets, splits), together=together)
    for fit in (batch.fits[0], batch.fits[3], batch.fits[5]):
        split = next(split for split in splits if split.fold == fit.fold)
        alone = options.model_copy(
            update={key: [value] for key, value in fit.configuration.items()} | {"layers": [fit.layer]}
        )
        torch.rand(3)  # whatever ran before
        single = train(alone, (features, targets, [split]), [fit.seed]).fits[0]
        assert np.abs(single.probabilities - fit.probabilities).max() < 1e-5
        assert abs(single.valid_loss - fit.valid_loss) < 1e-5
        assert single.epochs == fit.epochs or options.name == "linear"


@pytest.mark.parametrize("n_bytes", [1, 600_000])  # one candidate per stack, and a few
def test_a_stack_that_does_not_fit_is_cut_and_gives_the_same(monkeypatch, n_bytes):
    data = clips()
    whole = train(MLP, data)
    monkeypatch.setattr(stepping, "CPU_STACK_BYTES", n_bytes)
    cut = train(MLP, data)
    for one, other in zip(whole.fits, cut.fits, strict=True):
        assert np.abs(one.probabilities - other.probabilities).max() < 1e-5
    for fold, scores in whole.candidates.items():
        losses = [[score.valid_loss for score in found] for found in (scores, cut.candidates[fold])]
        assert np.allclose(*losses, atol=1e-5)


def test_mlp_trains_as_a_plain_torch_loop_does():
    features, targets, splits = data = clips(n_layers=1)
    options = MlpOptions(hidden=[[24, 9]], dropout=0, learning_rate=1e-2, weight_decay=0.1, max_epochs=4, patience=4)
    for fit, split in zip(train(options, data, [5]).fits, splits, strict=True):
        rows = features[:, 0].astype(np.float64)
        rows = torch.from_numpy((rows - rows[split.train].mean(0)) / rows[split.train].std(0)).float()
        labels = torch.from_numpy(targets)
        widths = (33, 24, 9, N_CLASSES)
        layers = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
        for layer, (weight, bias) in zip(layers, initial_layers(5, widths), strict=True):
            layer.load_state_dict({"weight": weight.T, "bias": bias})
        network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
        losses, outputs = [], []
        for epoch in range(1, 5):
            order = split.train[row_order(5, epoch, len(split.train))]
            for start in range(0, len(order), options.batch_size):
                batch = order[start : start + options.batch_size]
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(rows[batch]), labels[batch]).backward()
                optimizer.step()
            with torch.no_grad():
                losses.append(torch.nn.functional.cross_entropy(network(rows[split.valid]), labels[split.valid]).item())
                outputs.append(network(rows[split.test]).softmax(1).numpy())
        best = int(np.argmin(losses))
        assert fit.epochs == best + 1
        assert abs(fit.valid_loss - losses[best]) < 1e-4
        assert np.abs(fit.probabilities - outputs[best]).max() < 1e-4


def test_mlp_stops_early_and_keeps_its_best_state():
    features, targets, splits = data = clips(n_layers=1)
    base = {"hidden": 16, "learning_rate": 1e-2, "dropout": 0.7, "batch_size": 8}
    short, long = (train(MlpOptions(**base, max_epochs=25, patience=patience), data, [0, 1]) for patience in (1, 25))
    for one, other in zip(short.fits, long.fits, strict=True):
        assert (one.epochs < other.epochs) == (one.valid_loss > other.valid_loss)
        split = next(split for split in splits if split.fold == one.fold)
        valid = log_loss(one.state, features[split.valid, one.layer], targets[split.valid])
        assert valid == pytest.approx(one.valid_loss, abs=1e-5)
    # Validation loss is no smooth curve here: the impatient stop where the patient get over a bump.
    assert any(one.epochs < other.epochs for one, other in zip(short.fits, long.fits, strict=True))


def test_dropout_and_decay_do_something():
    data = clips(n_layers=1)
    base = {"hidden": 16, "dropout": 0.0, "weight_decay": 0.0, "max_epochs": 3}
    plain = train(MlpOptions(**base), data, [0]).fits[0].probabilities
    for change in ({"dropout": 0.5}, {"weight_decay": 1.0}):
        assert np.abs(train(MlpOptions(**(base | change)), data, [0]).fits[0].probabilities - plain).max() > 1e-3


def test_a_diverged_configuration_is_marked_and_never_chosen():
    data = clips(n_layers=1)
    options = MlpOptions(hidden=16, learning_rate=[1e30, 1e-2], max_epochs=5)
    result = train(options, data)
    for scores in result.candidates.values():
        assert np.isnan(scores[0].valid_loss) and np.isfinite(scores[1].valid_loss)
    assert all(fit.configuration["learning_rate"] == 1e-2 for fit in result.fits)
    alone = train(options.model_copy(update={"learning_rate": [1e-2]}), data)
    for one, other in zip(result.fits, alone.fits, strict=True):
        assert np.abs(one.probabilities - other.probabilities).max() < 1e-5
    with pytest.raises(RunError, match=r"fold 'f0': every configuration diverged.*learning_rate"):
        train(options.model_copy(update={"learning_rate": [1e30]}), data)


@pytest.mark.parametrize("options", [LINEAR, MLP], ids=["linear", "mlp"])
def test_constant_columns_are_harmless(options):
    features, targets, splits = clips(noise=0.5)
    features[:, :, 3] = 1e6
    features[:, :, 5] = np.float32(0.1)
    result = train(options, (features, targets, splits))
    assert accuracy(result, targets) > 0.95
    assert all(np.isinf(fit.state["scale"][[3, 5]]).all() for fit in result.fits)  # they become zero everywhere


@pytest.mark.parametrize("options", [LINEAR, MLP], ids=["linear", "mlp"])
def test_one_training_clip_per_class_trains(options):
    features, targets, splits = clips(noise=0.1)
    one_each = np.sort([splits[0].train[targets[splits[0].train] == label][0] for label in range(N_CLASSES)])
    split = Split("f0", one_each, splits[0].valid, splits[0].test)
    assert accuracy(train(options, (features, targets, [split])), targets) > 0.9


def test_bad_features_and_folds_are_named():
    features, targets, splits = data = clips()
    bad = features.copy()
    bad[4, 1, :2] = np.nan
    bad[9, 0, 0] = np.inf
    with pytest.raises(RunError, match=r"3 feature values of 2 of 150 clips.*row 4"):
        train(LINEAR, (bad, targets, splits))
    part = Split("f9", splits[0].train[targets[splits[0].train] != 2], splits[0].valid, splits[0].test)
    with pytest.raises(RunError, match="fold 'f9' has no training clip of class 2"):
        train(LINEAR, (features, targets, [part]))
    with pytest.raises(ConfigError, match="fold 'f0' has no validation clips to choose l2 by"):
        train(LINEAR, (features, targets, [Split("f0", splits[0].train, splits[0].valid[:0], splits[0].test)]))
    with pytest.raises(RunError, match="no fold has test clips"):
        train(LINEAR, (features, targets, []))
    with pytest.raises(ConfigError, match="layers: 5 is not among the cached layers 0, 1"):
        train(LINEAR.model_copy(update={"layers": [5]}), data)
    with pytest.raises(ConfigError, match="seeds"):
        train(LINEAR, data, [])


def test_layers_last_and_listed():
    data = clips(n_layers=3)
    for layers, expected in (("last", {8}), ([2], {2}), ([5, 2], {2, 5})):
        result = train(LINEAR.model_copy(update={"layers": layers}), data, layer_names=[2, 5, 8])
        assert {score.layer for scores in result.candidates.values() for score in scores} == expected


def test_progress_counts_every_candidate():
    seen = []
    train(LINEAR, clips(), on_candidate=lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, 24) for k in range(24)]
