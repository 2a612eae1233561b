"""Gradients that are written out by hand are those of autograd, or of finite differences, in float64."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from heads.batched.blocks import ALL_LAYERS
from heads.batched.convex.logistic import LogisticPaths, LogisticRows
from heads.batched.frame_blocks import ClipLayers, FrameSource
from heads.batched.losses import concordance_loss, loss_gradient, row_losses, row_weights
from heads.batched.stepped import frame_batches
from heads.batched.stepped.adamw import Minibatch, Rate, Stack, aligned
from heads.batched.stepped.attention import AttentionPooling
from heads.batched.stepped.frame_batches import FrameStore
from heads.batched.stepped.perceptron import Perceptron
from heads.batched.stepped.weighted_sum import WeightedSum
from heads.splits.protocol import Split
from tests.heads.learnables import Stored

M, N_ROWS, DIM, N_CLASSES, N_LAYERS = 2, 6, 5, 3, 4
FILLER = 2  # rows of the second network that are not there


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def minibatch(network, rows, dropout):
    """Unequal numbers of rows per network, with dropout or without."""
    share = torch.full((M, N_ROWS, 1), 1 / N_ROWS, dtype=torch.float64)
    share[1, -FILLER:], share[1, :-FILLER] = 0, 1 / (N_ROWS - FILLER)
    keep = (random(M, N_ROWS, network.units, seed=9) > -0.5) * 1.5 if dropout else None
    return Minibatch(rows, random(M, N_ROWS, N_CLASSES), share, None, keep)


def arrays_of(network):
    """Random values of all arrays, zeros where they are padded; arrays that start at zero are random everywhere."""
    starts = [network.start(seed) for seed in range(M)]
    stacked = {name: torch.stack([start[name] for start in starts]).double() for name in starts[0]}
    trained = {}
    for at, name in enumerate(network.trained):
        padded = name.startswith(("weight", "bias", "gain")) and stacked[name].any()
        real = stacked[name] != 0 if padded else torch.ones_like(stacked[name])
        trained[name] = (random(*stacked[name].shape, seed=at) * real).requires_grad_()
    return trained, {name: stacked[name] for name in network.tracked}


def gradcheck(network, batch):
    trained, tracked = arrays_of(network)
    real = batch.share > 0  # outputs of filler rows are in no loss

    class Outputs(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *values):
            arrays = dict(zip(trained, values, strict=True)) | {
                name: values.clone() for name, values in tracked.items()
            }
            outputs, ctx.tape = network.forward(arrays, batch.rows, batch)
            ctx.arrays = arrays
            return outputs * real

        @staticmethod
        def backward(ctx, gradient):
            slopes = {name: torch.zeros_like(values) for name, values in trained.items()}
            network.backward(ctx.arrays, ctx.tape, gradient * real, batch, slopes)
            return tuple(slopes.values())

    torch.set_default_dtype(torch.float64)  # in which a rate of running statistics is made
    try:
        return torch.autograd.gradcheck(Outputs.apply, tuple(trained.values()), fast_mode=True)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_the_perceptrons_backward_pass(norm, dropout):
    network = Perceptron((DIM, 20, 9, N_CLASSES), norm)
    rows = nn.functional.pad(random(M, N_ROWS, DIM), (0, aligned(DIM) - DIM))
    assert gradcheck(network, minibatch(network, rows, dropout))


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("layer", [0, ALL_LAYERS])
def test_the_backward_pass_of_attention(monkeypatch, layer, cut):
    if cut:
        monkeypatch.setattr(frame_batches, "MAX_FRAMES", 4)  # several parts, and clips in several parts
    monkeypatch.setattr(torch, "empty", partial(torch.empty, dtype=torch.float64))  # of standardised frames
    lengths = [9, 4, 7, 2, 5, 9]
    stored = Stored([random(length, N_LAYERS * DIM, seed=at).numpy() for at, length in enumerate(lengths)])
    splits = [Split(0, np.arange(N_ROWS), np.arange(0), np.arange(1))]
    source = FrameSource(
        ClipLayers(stored, np.arange(N_ROWS), range(N_LAYERS)), np.arange(N_ROWS), splits, [layer], "single-label"
    )
    device = torch.device("cpu")
    network = AttentionPooling(DIM, 3, N_CLASSES, N_LAYERS if layer == ALL_LAYERS else None)
    store = FrameStore([source.block(splits[0], layer, device)], device)
    rows = store.gather(torch.arange(N_ROWS).expand(M, -1))
    assert gradcheck(network, minibatch(network, rows, dropout=True))


def test_the_weighted_sums_backward_pass():
    network = WeightedSum(N_LAYERS, DIM, N_CLASSES)
    rows = nn.functional.pad(random(M, N_ROWS, N_LAYERS, DIM), (0, aligned(DIM) - DIM))
    assert gradcheck(network, minibatch(network, rows, dropout=False))


@pytest.mark.parametrize(
    ("task", "loss"), [("single-label", "mse"), ("multi-label", "mse"), ("regression", "mse"), ("regression", "ccc")]
)
def test_the_gradient_of_a_loss_with_filler_rows(task, loss):
    n_outputs = 1 if task == "regression" else N_CLASSES
    scores = random(N_ROWS, n_outputs).requires_grad_()
    values = random(N_ROWS, n_outputs, seed=1)
    targets = {"single-label": values.argmax(1), "multi-label": (values > 0).double(), "regression": values}[task]
    weights = None if task == "regression" else row_weights(targets, n_outputs, task, "balanced")
    share = torch.tensor([0.25, 0.25, 0.25, 0.25, 0, 0], dtype=torch.float64)
    if loss == "ccc":
        value = concordance_loss(scores, targets, share)
    else:
        value = (row_losses(scores, targets, task, weights, 0.2) * share).sum()
    [expected] = torch.autograd.grad(value, scores)
    of_rows = None if weights is None else weights.view(N_ROWS, -1)
    found = loss_gradient(scores.detach(), targets, share[:, None], of_rows, task, loss, 0.2)
    assert torch.allclose(found, expected, atol=1e-12)


def test_steps_are_those_of_autograd_and_torchs_adamw():
    network = Perceptron((DIM, 8, N_CLASSES), None)
    rates = [Rate(1e-2, 0.1), Rate(1e-3, 0.0), Rate(1e-2, 0.1)]

    def gradient(outputs, batch):
        return loss_gradient(outputs, batch.targets, batch.share, None, "single-label")

    stack = Stack(network, N_CLASSES, gradient, torch.device("cpu"))
    stack.enter([0, 1, 2], rates)
    plain, optimizers = [], []
    for at, rate in enumerate(rates):
        state = stack.state(stack.snapshot(at))
        layers = nn.Sequential(nn.Linear(DIM, 8), nn.ReLU(), nn.Linear(8, N_CLASSES))
        with torch.no_grad():
            for layer in (0, 1):
                layers[2 * layer].weight.copy_(torch.from_numpy(state[f"weight_{layer}"].T))
                layers[2 * layer].bias.copy_(torch.from_numpy(state[f"bias_{layer}"]))
        plain.append(layers)
        optimizers.append(torch.optim.AdamW(layers.parameters(), lr=rate.learning_rate, weight_decay=rate.weight_decay))
    share = torch.full((3, N_ROWS, 1), 1 / N_ROWS)
    for step in range(5):
        rows = random(3, N_ROWS, DIM, seed=step).float()
        classes = torch.randint(N_CLASSES, (3, N_ROWS), generator=torch.Generator().manual_seed(step))
        resting = frozenset({2} if step == 3 else ())
        padded = nn.functional.pad(rows, (0, aligned(DIM) - DIM))
        stack.step(Minibatch(padded, classes, share, None, None), resting)
        for at, (layers, optimizer) in enumerate(zip(plain, optimizers, strict=True)):
            if at not in resting:
                optimizer.zero_grad()
                nn.functional.cross_entropy(layers(rows[at]), classes[at]).backward()
                optimizer.step()
    for at, layers in enumerate(plain):
        state = stack.state(stack.snapshot(at))
        for layer in (0, 1):
            assert torch.allclose(torch.from_numpy(state[f"weight_{layer}"].T), layers[2 * layer].weight, atol=1e-6)
            assert torch.allclose(torch.from_numpy(state[f"bias_{layer}"]), layers[2 * layer].bias, atol=1e-6)


@pytest.mark.parametrize("n_outputs", [1, N_CLASSES])
def test_the_gradient_and_the_hessian_of_logistic_regression(n_outputs):
    l2 = torch.tensor([0.1, 0.01], dtype=torch.float64)
    blocks = []
    for n, rank, seed in ((9, 4, 0), (7, 3, 1)):
        scores = random(1, n_outputs, n, seed=seed)
        one_hot = nn.functional.one_hot(scores.argmax(1), n_outputs).transpose(1, 2).double()
        weights = random(1, 1, n, seed=seed).abs()
        targets = (scores > 0).double() if n_outputs == 1 else one_hot
        blocks.append(LogisticRows(random(n, rank, seed=seed), targets, weights / weights.mean()))
    problems = LogisticPaths(blocks, l2)
    points = random(2, 2, n_outputs * problems.width, seed=2)
    directions = random(*points.shape, seed=3)

    def total(points):
        return problems.losses(points, problems.scores(points)).sum()

    found, models = problems.expand(points, problems.scores(points))
    assert torch.allclose(found, torch.autograd.functional.jacobian(total, points), atol=1e-12)
    expected = torch.autograd.functional.hvp(total, points, directions)[1]
    assert torch.allclose(models.product(directions.float()).double(), expected, atol=1e-5)  # single precision
