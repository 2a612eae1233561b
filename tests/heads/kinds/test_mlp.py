"""Multilayer perceptrons: normalisation, losses and tasks as plain torch loops have them, alone as in the batch."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from heads.batched.losses import choice_loss, concordance_loss, loss_gradient, row_losses, row_weights
from heads.batched.rng import initial_layers, row_order
from heads.batched.stepped import early_stopping as stepping
from heads.kinds.mlp import MlpOptions
from heads.kinds.registry import predict
from heads.splits.protocol import Split
from heads.training.train import train_head

N_CLASSES, DIM = 5, 33
TASKS = ("single-label", "multi-label", "regression")


def clips(task="single-label", n=150, noise=1.0, seed=0):
    """Features that tell the targets, and three folds; 33 training rows leave a batch of one."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.arange(n) % N_CLASSES)
    centres = rng.normal(size=(N_CLASSES, DIM))
    features = centres[classes] + noise * rng.normal(size=(n, DIM))
    targets = {
        "single-label": classes,
        "multi-label": np.stack([classes == at for at in range(4)] + [classes % 2 == 0], 1).astype(np.float64),
        "regression": 10.0 + 3.0 * features[:, 0] + 0.1 * rng.normal(size=n),
    }[task]
    fold = np.minimum(np.arange(n) // 33, 2)
    splits = [Split(f"f{k}", *(np.flatnonzero(fold == (k + j) % 3) for j in (2, 1, 0))) for k in range(3)]
    return (features[:, None] * 3 + 1).astype(np.float32), targets, splits


def train(options, data, seeds=(0, 1), task="single-label", **kwargs):
    features, targets, splits = data
    n_classes = 1 if task == "regression" else N_CLASSES
    return train_head(options, features, targets, splits, list(seeds), n_classes=n_classes, task=task, **kwargs)


def plain_network(sizes, norm):
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=norm != "batch" or fan_out == sizes[-1])]
        if norm:
            layers += [nn.BatchNorm1d(fan_out) if norm == "batch" else nn.LayerNorm(fan_out)]
        layers += [nn.ReLU()]
    network = nn.Sequential(*layers[: -2 if norm else -1])
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer, (weight, bias) in zip(linear, initial_layers(5, sizes), strict=True):
        layer.load_state_dict({"weight": weight.T} | ({"bias": bias} if layer.bias is not None else {}))
    return network


def plain_loop(options, data, task, norm):
    """Outputs of the best epoch and validation loss of each epoch, per fold, from a loop anyone would write."""
    features, targets, splits = data
    n_outputs = 1 if task == "regression" else N_CLASSES
    for split in splits:
        rows = features[:, 0].astype(np.float64)
        rows = torch.from_numpy((rows - rows[split.train].mean(0)) / rows[split.train].std(0)).float()
        mean, scale = 0.0, 1.0
        if task == "single-label":
            answers = torch.from_numpy(targets)
        elif task == "multi-label":
            answers = torch.from_numpy(targets).float()
        else:
            mean, scale = targets[split.train].mean(), targets[split.train].std()
            answers = torch.from_numpy((targets - mean) / scale).float()[:, None]
        weights = row_weights(answers[split.train], n_outputs, task, options.class_weight).float()
        of_row = torch.zeros(len(rows), *weights.shape[1:])
        of_row[split.train] = weights
        network = plain_network((DIM, *options.hidden[0], n_outputs), norm)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
        losses, outputs = [], []
        for epoch in range(1, options.max_epochs + 1):
            network.train()
            order = split.train[row_order(5, epoch, len(split.train))]
            for start in range(0, len(order), options.batch_size):
                batch = order[start : start + options.batch_size]
                scores = network(rows[batch])
                if options.loss == "ccc":
                    x, y = scores[:, 0], answers[batch, 0]
                    spread = x.var(unbiased=False) + y.var(unbiased=False) + (x.mean() - y.mean()) ** 2
                    loss = 1 - 2 * ((x - x.mean()) * (y - y.mean())).mean() / spread
                elif task == "single-label":
                    each = nn.functional.cross_entropy(
                        scores, answers[batch], reduction="none", label_smoothing=options.label_smoothing
                    )
                    loss = (each * of_row[batch]).mean()
                elif task == "multi-label":
                    wanted = answers[batch] * (1 - options.label_smoothing) + options.label_smoothing / 2
                    loss = nn.functional.binary_cross_entropy_with_logits(scores, wanted, of_row[batch])
                else:
                    loss = nn.functional.mse_loss(scores, answers[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            network.eval()
            with torch.no_grad():
                losses.append(choice_loss(network(rows[split.valid]), answers[split.valid], task, options.loss).item())
                scores = network(rows[split.test])
            outputs.append(
                scores.softmax(1) if task == "single-label" else scores.sigmoid() if task == "multi-label" else scores
            )
        best = int(np.argmin(losses))
        yield best + 1, losses[best], outputs[best].numpy() * scale + mean


BASE = {"hidden": [[24, 9]], "dropout": 0, "learning_rate": 1e-2, "weight_decay": 0.1, "max_epochs": 4, "patience": 4}
CASES = {
    "batch norm": ("single-label", {"norm": "batch", "batch_size": 25}),  # torch's refuses a batch of one row
    "layer norm": ("single-label", {"norm": "layer"}),
    "class weights": ("single-label", {"class_weight": "balanced"}),
    "smoothing": ("single-label", {"label_smoothing": 0.2}),
    "several labels": ("multi-label", {"label_smoothing": 0.1, "class_weight": "balanced"}),
    "squared error": ("regression", {"norm": "layer"}),
    "concordance": ("regression", {"loss": "ccc"}),
}


@pytest.mark.parametrize("case", CASES)
def test_training_is_that_of_a_plain_torch_loop(case):
    task, change = CASES[case]
    options = MlpOptions(**(BASE | change))
    data = clips(task)
    result = train(options, data, [5], task)
    for fit, (epochs, loss, outputs) in zip(result.fits, plain_loop(options, data, task, options.norm), strict=True):
        assert fit.epochs == epochs
        assert abs(fit.valid_loss - loss) < 1e-4
        assert np.abs(fit.probabilities - outputs).max() < 1e-4 * max(1, np.abs(outputs).max())


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("task", TASKS)
def test_a_fit_is_the_same_alone_as_in_the_batch(task, norm):
    options = MlpOptions(
        hidden=[24, [17, 9]], learning_rate=[1e-2, 1e-3], norm=norm, max_epochs=8, patience=3, class_weight="balanced"
    )
    features, targets, splits = clips(task)
    for together in (False, True):
        batch = train(options, (features, targets, splits), task=task, together=together)
        for fit in (batch.fits[0], batch.fits[3], batch.fits[5]):
            split = next(split for split in splits if split.fold == fit.fold)
            alone = options.model_copy(update={key: [value] for key, value in fit.configuration.items()})
            single = train(alone, (features, targets, [split]), [fit.seed], task).fits[0]
            assert np.abs(single.probabilities - fit.probabilities).max() < 1e-5 * max(1, np.abs(targets).max())
            assert abs(single.valid_loss - fit.valid_loss) < 1e-5
            assert single.epochs == fit.epochs


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_learnt(task):
    _, targets, _ = data = clips(task, noise=0.3)
    for fit in train(MlpOptions(learning_rate=1e-2, max_epochs=40), data, task=task).fits:
        wanted = targets[fit.test_rows]
        if task == "single-label":
            assert (fit.probabilities.argmax(1) == wanted).mean() > 0.95
        elif task == "multi-label":
            assert ((fit.probabilities > 0.5) == wanted).mean() > 0.95
        else:
            assert np.corrcoef(fit.probabilities[:, 0], wanted)[0, 1] > 0.9
            assert abs(fit.probabilities.mean() - wanted.mean()) < wanted.std() / 2


def test_bits_do_not_depend_on_how_many_cores_work():
    options = MlpOptions(hidden=16, learning_rate=[1e-2, 1e-3], max_epochs=4)
    cores, results = torch.get_num_threads(), []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            results.append(train(options, clips()))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(cores)
    for one, other in zip(results[0].fits, results[1].fits, strict=True):
        assert all(np.array_equal(one.state[key], other.state[key]) for key in one.state)


def test_a_fold_without_validation_rows_trains_to_the_end_and_a_refit_as_long_as_told():
    features, targets, splits = data = clips()
    options = MlpOptions(hidden=16, learning_rate=0.1, max_epochs=15, patience=3)
    free = [Split(split.fold, split.train, split.valid[:0], split.test) for split in splits]
    for fit in train(options, (features, targets, free)).fits:
        assert fit.epochs == 15 and np.isnan(fit.valid_loss)
    chosen, again = train(options, data), train(options, data, refit=True)
    assert min(fit.epochs for fit in chosen.fits) < 15
    for one, other in zip(chosen.fits, again.fits, strict=True):
        split = next(split for split in splits if split.fold == one.fold)
        joined = Split(split.fold, np.union1d(split.train, split.valid), split.valid[:0], split.test)
        told = options.model_copy(update={"max_epochs": one.epochs})
        expected = train(told, (features, targets, [joined]), [one.seed]).fits[0]
        assert other.epochs == one.epochs and other.valid_loss == one.valid_loss
        assert np.array_equal(other.probabilities, expected.probabilities)


def test_parameters_are_counted_without_padding():
    options = MlpOptions(hidden=[[24, 9]], max_epochs=1)
    linear = 33 * 24 + 24 + 24 * 9 + 9 + 9 * N_CLASSES + N_CLASSES
    for norm, expected in ((None, linear), ("batch", linear + 33), ("layer", linear + 2 * 33)):
        result = train(options.model_copy(update={"norm": norm}), clips(), [0])
        assert result.params_trained == expected
        assert all(value.dtype == np.float32 for key, value in result.fits[0].state.items() if "weight" in key)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_configuration_that_diverges_is_marked_and_the_others_go_on(norm):
    options = MlpOptions(hidden=16, norm=norm, learning_rate=[1e38, 1e-2], weight_decay=[1e-2, 1e3], max_epochs=4)
    result = train(options, clips())
    for scores in result.candidates.values():
        assert np.isnan(scores[1].valid_loss) and np.isfinite(scores[2].valid_loss)
    assert all(fit.configuration["learning_rate"] == 1e-2 for fit in result.fits)


def test_an_error_in_one_of_the_threads_ends_the_job(monkeypatch):
    def broken(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(stepping, "loss_gradient", broken)
    with pytest.raises(MemoryError, match="no room"):
        train(MlpOptions(hidden=16), clips())


def test_losses_of_rows():
    scores = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    targets = torch.tensor([0, 0])
    assert row_losses(scores, targets, "single-label").tolist() == pytest.approx([np.log1p(np.exp(-2)), np.log1p(np.e)])
    weights = torch.tensor([2.0, 0.5])
    expected = nn.functional.cross_entropy(scores, targets, reduction="none", label_smoothing=0.3) * weights
    assert torch.allclose(row_losses(scores, targets, "single-label", weights, 0.3), expected)
    ramp = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    assert choice_loss(ramp, ramp, "regression", "ccc").item() == pytest.approx(0)
    assert choice_loss(-ramp, ramp, "regression", "ccc").item() > 1
    assert choice_loss(ramp * 0, ramp, "regression", "ccc").item() == pytest.approx(1)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("loss", ["mse", "ccc"])
def test_the_gradient_is_that_of_the_loss(task, loss):
    rng = torch.Generator().manual_seed(0)
    n_outputs = 1 if task == "regression" else N_CLASSES
    scores = torch.randn(7, n_outputs, generator=rng, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(7, n_outputs, generator=rng, dtype=torch.float64)
    targets = {"single-label": targets.argmax(1), "multi-label": (targets > 0).double(), "regression": targets}[task]
    weights = None if task == "regression" else row_weights(targets, n_outputs, task, "balanced")
    if task == "regression" and loss == "ccc":
        value = concordance_loss(scores, targets, torch.full((7,), 1 / 7))
    else:
        value = row_losses(scores, targets, task, weights, 0.2).mean()
    value.backward()
    share = torch.full((7, 1), 1 / 7, dtype=torch.float64)
    of_rows = None if weights is None else weights.view(7, -1)
    found = loss_gradient(scores.detach(), targets, share, of_rows, task, loss, 0.2)
    assert torch.allclose(found, scores.grad, atol=1e-12)


def test_a_saved_state_predicts_what_was_scored():
    features, _, _ = data = clips()
    for norm in ("batch", "layer"):
        for fit in train(MlpOptions(hidden=[[24, 9]], norm=norm, max_epochs=2), data).fits:
            assert np.array_equal(predict("mlp", fit.state, features[fit.test_rows, 0]), fit.probabilities)
            with pytest.raises(ValueError, match="this head needs"):
                predict("mlp", fit.state, features[:, 0, :5])
