"""Multilayer perceptrons: linear layers with ReLU, dropout and, if asked, normalisation between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from features.tasks import Task
from heads.blocks import Fitted, Loader, Place
from heads.job import Job
from heads.noise import initial_layers
from heads.options import MlpOptions, widths
from heads.predict import State, count_layers, outputs, standardized
from heads.stack import Minibatch, affine, aligned
from heads.stepping import train_stepped

NORM_EPS = 1e-5
MOMENTUM = 0.1  # of batch normalisation's running statistics


def fit_mlp(places: Sequence[Place], load: Loader, job: Job) -> Iterator[Fitted]:
    """Train every configuration on every block with every seed, see `heads.stepping`.

    Args:
        places: The blocks.
        load: Gives the block of a place.
        job: The grid and what all fits share.

    Yields:
        One candidate per block and configuration, in no particular order.
    """
    options, grid = cast(MlpOptions, job.options), job.grid
    by_hidden = sorted(range(len(grid)), key=lambda at: (widths(grid[at]["hidden"]), at))
    for hidden, configurations in groupby(by_hidden, key=lambda at: widths(grid[at]["hidden"])):
        network = Perceptron((job.dim, *hidden, job.n_outputs), options.norm)
        yield from train_stepped(places, load, job, list(configurations), network)


class Perceptron:
    """The arithmetic of networks of the same widths, see `heads.stack.Network`."""

    def __init__(self, sizes: Sequence[int], norm: str | None) -> None:
        """Lay out the arrays.

        Args:
            sizes: D, the hidden widths, C.
            norm: `batch`, `layer` or None.
        """
        self.sizes, self.norm = tuple(sizes), norm
        hidden = [aligned(size) for size in sizes[1:-1]]
        self.units = sum(hidden)
        self.n_trained = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))
        self.trained: dict[str, tuple[int, ...]] = {}
        self.tracked: dict[str, tuple[int, ...]] = {}
        for layer, (fan_in, fan_out) in enumerate(pairwise(map(aligned, sizes))):
            self.trained |= {f"weight_{layer}": (fan_in, fan_out), f"bias_{layer}": (1, fan_out)}
        if norm:
            self.n_trained += 2 * sum(sizes[1:-1])
            for layer, size in enumerate(hidden):
                self.trained |= {f"gain_{layer}": (1, size), f"shift_{layer}": (1, size)}
        if norm == "batch":
            self.n_trained -= sum(sizes[1:-1])
            for layer, size in enumerate(hidden):
                self.tracked |= {f"mean_{layer}": (1, size), f"variance_{layer}": (1, size)}
                # Taken out again by the mean: rounding errors would be all its gradient, and AdamW would follow them.
                self.tracked[f"bias_{layer}"] = self.trained.pop(f"bias_{layer}")

    def start(self, seed: int) -> dict[str, Tensor]:
        """First values: linear layers as `torch.nn.Linear`, normalisation as the identity."""
        arrays: dict[str, Tensor] = {}
        for layer, (weight, bias) in enumerate(initial_layers(seed, self.sizes)):
            extra_in, extra_out = (aligned(size) - size for size in weight.shape)
            arrays[f"weight_{layer}"] = pad(weight, (0, extra_out, 0, extra_in))
            arrays[f"bias_{layer}"] = pad(bias[None], (0, extra_out))
            ones = pad(torch.ones(1, len(bias)), (0, extra_out))
            arrays |= {f"gain_{layer}": ones, f"variance_{layer}": ones}
            arrays |= {f"shift_{layer}": torch.zeros_like(ones), f"mean_{layer}": torch.zeros_like(ones)}
        arrays |= {name: torch.zeros_like(arrays[name]) for name in self.tracked if name.startswith("bias_")}
        return {name: arrays[name] for name in (*self.trained, *self.tracked)}

    def scores(
        self, arrays: Mapping[str, Tensor], rows: Tensor, batch: Minibatch | None, slopes: Mapping[str, Tensor]
    ) -> Tensor:
        """Outputs (M, B, C) of rows (M, B, D padded) or (B, D padded)."""
        x, start = affine(rows, arrays, 0, slopes), 0
        for layer, size in enumerate(self.sizes[1:-1]):
            if self.norm == "batch":
                x = _batch_norm(x, arrays, layer, batch)
            elif self.norm == "layer":
                x = _layer_norm(x, arrays, layer, size)
            x = x.relu()
            stop = start + aligned(size)
            if batch is not None and batch.keep is not None:
                x = x * batch.keep[..., start:stop]
            x, start = affine(x, arrays, layer + 1, slopes), stop
        return x[..., : self.sizes[-1]]

    def state(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays of `predict_mlp`; trained batch normalisation is part of the linear layer before it."""
        state: dict[str, np.ndarray] = {}
        for layer, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
            weight, bias = arrays[f"weight_{layer}"][:fan_in, :fan_out], arrays[f"bias_{layer}"][0, :fan_out]
            if self.norm and layer < len(self.sizes) - 2:
                gain, shift = (arrays[f"{name}_{layer}"][0, :fan_out] for name in ("gain", "shift"))
                if self.norm == "layer":
                    state |= {f"gain_{layer}": gain, f"shift_{layer}": shift}
                else:
                    mean, variance = (arrays[f"{name}_{layer}"][0, :fan_out] for name in ("mean", "variance"))
                    factor = gain / np.sqrt(variance.astype(np.float64) + NORM_EPS)
                    weight, bias = weight * factor, (bias - mean) * factor + shift
            state |= {f"weight_{layer}": weight, f"bias_{layer}": bias}
        return {name: np.array(array, dtype=np.float32) for name, array in state.items()}


def predict_mlp(state: State, features: np.ndarray, task: Task = "single-label") -> np.ndarray:
    """What a trained perceptron says.

    Args:
        state: `mean`, `scale`, `weight_k` and `bias_k` of layer k, `gain_k` and `shift_k` where a layer
            normalisation follows it.
        features: Raw features of the head's layer and poolings, shape (n, D).
        task: What the outputs are.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1); the arithmetic is float64.

    Raises:
        ValueError: The features have another dimension than the head was trained on.
    """
    x = standardized(state, features)
    depth = count_layers(state)
    for layer in range(depth):
        x = x @ state[f"weight_{layer}"].astype(np.float64) + state[f"bias_{layer}"]
        if f"gain_{layer}" in state:
            x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + NORM_EPS)
            x = x * state[f"gain_{layer}"] + state[f"shift_{layer}"]
        if layer < depth - 1:
            x = np.maximum(x, 0)
    return outputs(state, x, task)


def _batch_norm(x: Tensor, arrays: Mapping[str, Tensor], layer: int, batch: Minibatch | None) -> Tensor:
    """As `torch.nn.BatchNorm1d` over each network's own rows; a batch of one row leaves the running figures alone."""
    mean, variance = arrays[f"mean_{layer}"], arrays[f"variance_{layer}"]
    if batch is not None:
        running = mean, variance
        share = batch.share[..., None]
        mean = (x * share).sum(1, keepdim=True)
        variance = ((x - mean).square() * share).sum(1, keepdim=True)
        with torch.no_grad():
            n = (share > 0).sum(1, keepdim=True)
            rate = MOMENTUM * (n > 1)
            running[0].lerp_(mean, rate)
            running[1].lerp_(variance * (n / (n - 1).clamp(min=1)), rate)
    return (x - mean) * (variance + NORM_EPS).rsqrt() * arrays[f"gain_{layer}"] + arrays[f"shift_{layer}"]


def _layer_norm(x: Tensor, arrays: Mapping[str, Tensor], layer: int, size: int) -> Tensor:
    """As `torch.nn.LayerNorm` over the real units; padding stays zero."""
    real = torch.arange(x.shape[-1], device=x.device) < size
    centred = (x - (x * real).sum(-1, keepdim=True) / size) * real
    variance = centred.square().sum(-1, keepdim=True) / size
    return centred * (variance + NORM_EPS).rsqrt() * arrays[f"gain_{layer}"] + arrays[f"shift_{layer}"]
