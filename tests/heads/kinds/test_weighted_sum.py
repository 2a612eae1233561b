"""The weighted sum of layers: as a plain torch loop has it, and its weights go to the layer that tells."""

import numpy as np
import pytest
import torch
from torch import nn

from heads.batched.rng import initial_layers, row_order
from heads.batched.stepped import plan as stepping
from heads.kinds.registry import predict
from heads.kinds.weighted_sum import WeightedSumOptions
from heads.splits.protocol import Split
from heads.training.train import train_head

N_CLASSES, N_LAYERS, DIM = 5, 3, 21


def clips(n=150, seed=0):
    """Features whose middle layer alone tells the classes, and three folds."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(n) % N_CLASSES)
    features = rng.normal(size=(n, N_LAYERS, DIM))
    features[:, 1] += 2 * rng.normal(size=(N_CLASSES, DIM))[targets]
    features *= np.array([1.0, 0.01, 30.0])[:, None]
    fold = np.arange(n) % 3
    splits = [Split(f"f{k}", *(np.flatnonzero(fold == (k + j) % 3) for j in (2, 1, 0))) for k in range(3)]
    return features.astype(np.float32), targets, splits


def train(options, data, seeds=(0, 1), **kwargs):
    features, targets, splits = data
    return train_head(options, features, targets, splits, list(seeds), n_classes=N_CLASSES, **kwargs)


def test_the_layer_that_tells_gets_the_weight():
    features, targets, _ = data = clips()
    result = train(WeightedSumOptions(learning_rate=3e-2, max_epochs=60), data)
    for fit in result.fits:
        assert (fit.probabilities.argmax(1) == targets[fit.test_rows]).mean() > 0.9
        assert fit.layer == "all"
        assert fit.state["layer_weights"].shape == (N_LAYERS,)
        assert fit.state["layer_weights"].sum() == pytest.approx(1, abs=1e-6)
        assert fit.state["layer_weights"].argmax() == 1 and fit.state["layer_weights"][1] > 0.5
        assert np.array_equal(predict("weighted-sum", fit.state, features[fit.test_rows]), fit.probabilities)
    assert result.params_trained == N_LAYERS + DIM * N_CLASSES + N_CLASSES


def test_training_is_that_of_a_plain_torch_loop():
    features, targets, splits = data = clips()
    options = WeightedSumOptions(learning_rate=1e-2, weight_decay=0.1, max_epochs=4)
    for fit, split in zip(train(options, data, [5]).fits, splits, strict=True):
        rows = features.astype(np.float64)
        rows = torch.from_numpy((rows - rows[split.train].mean(0)) / rows[split.train].std(0)).float()
        labels = torch.from_numpy(targets)
        mixture, linear = nn.Parameter(torch.zeros(N_LAYERS)), nn.Linear(DIM, N_CLASSES)
        weight, bias = initial_layers(5, (DIM, N_CLASSES))[0]
        linear.load_state_dict({"weight": weight.T, "bias": bias})
        optimizer = torch.optim.AdamW([mixture, *linear.parameters()], lr=1e-2, weight_decay=0.1)

        def scores(chosen, rows=rows, mixture=mixture, linear=linear):
            return linear((rows[chosen] * mixture.softmax(0)[:, None]).sum(1))

        losses, outputs = [], []
        for epoch in range(1, 5):
            order = split.train[row_order(5, epoch, len(split.train))]
            for start in range(0, len(order), options.batch_size):
                batch = order[start : start + options.batch_size]
                optimizer.zero_grad()
                nn.functional.cross_entropy(scores(batch), labels[batch]).backward()
                optimizer.step()
            with torch.no_grad():
                losses.append(nn.functional.cross_entropy(scores(split.valid), labels[split.valid]).item())
                outputs.append(scores(split.test).softmax(1).numpy())
        best = int(np.argmin(losses))
        assert fit.epochs == best + 1
        assert abs(fit.valid_loss - losses[best]) < 1e-5
        assert np.abs(fit.probabilities - outputs[best]).max() < 1e-5


@pytest.mark.parametrize("n_bytes", [1, stepping.CPU_STACK_BYTES])
def test_a_fit_is_the_same_alone_as_in_the_batch(monkeypatch, n_bytes):
    monkeypatch.setattr(stepping, "CPU_STACK_BYTES", n_bytes)
    options = WeightedSumOptions(learning_rate=[1e-2, 1e-3], weight_decay=[0.1, 0.0], max_epochs=10, patience=3)
    features, targets, splits = clips()
    batch = train(options, (features, targets, splits), together=n_bytes > 1)
    for fit in (batch.fits[0], batch.fits[3], batch.fits[5]):
        split = next(split for split in splits if split.fold == fit.fold)
        alone = options.model_copy(update={key: [value] for key, value in fit.configuration.items()})
        single = train(alone, (features, targets, [split]), [fit.seed]).fits[0]
        assert np.abs(single.probabilities - fit.probabilities).max() < 1e-5
        assert abs(single.valid_loss - fit.valid_loss) < 1e-5
        assert single.epochs == fit.epochs


def test_nothing_chosen_or_trained_depends_on_test_rows():
    features, targets, splits = clips()
    options = WeightedSumOptions(learning_rate=[1e-2, 1e-3], max_epochs=5)
    before = train(options, (features, targets, splits))
    other_targets, other_features = targets.copy(), features.copy()
    other_targets[splits[1].test] = (targets[splits[1].test] + 1) % N_CLASSES
    other_features[splits[1].test] *= -7
    after = train(options, (other_features, other_targets, splits))
    assert before.candidates["f1", 0] == after.candidates["f1", 0]
    for one, other in zip(before.fits, after.fits, strict=True):
        same = all(np.array_equal(one.state[key], other.state[key]) for key in one.state)
        if one.fold != "f0":  # those rows only validate there, which need not change what is chosen
            assert same == (one.fold == "f1")


def test_listed_layers_are_those_that_are_summed():
    features, targets, splits = clips()
    options = WeightedSumOptions(layers=[9, 4], learning_rate=3e-2, max_epochs=20)
    result = train(options, (features, targets, splits), layer_names=[2, 4, 9])
    assert all(fit.state["layer_weights"].argmax() == 0 for fit in result.fits)


def test_a_diverged_configuration_is_marked_and_never_chosen():
    result = train(WeightedSumOptions(learning_rate=[1e30, 1e-2], max_epochs=4), clips())
    for scores in result.candidates.values():
        assert np.isnan(scores[0].valid_loss) and np.isfinite(scores[1].valid_loss)
    assert all(fit.configuration["learning_rate"] == 1e-2 for fit in result.fits)
