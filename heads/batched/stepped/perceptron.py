"""Forward and backward pass of many multilayer perceptrons of the same widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from heads.batched.inference import NORM_EPS
from heads.batched.rng import initial_layers
from heads.batched.stepped.adamw import Arrays, Minibatch, affine, affine_slopes, aligned

MOMENTUM = 0.1  # momentum of batch normalisation's running statistics


class Perceptron:
    """Networks of the same widths, see `heads.batched.stepped.adamw.HeadNetwork`."""

    def __init__(self, sizes: Sequence[int], norm: str | None) -> None:
        """Define the shapes of the arrays.

        Args:
            sizes: D, the hidden widths, C.
            norm: Normalisation: `batch`, `layer` or None.
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
                # The batch mean cancels the bias: its gradient is only rounding error, which AdamW would amplify.
                self.tracked[f"bias_{layer}"] = self.trained.pop(f"bias_{layer}")

    def start(self, seed: int) -> dict[str, Tensor]:
        """Return the initial values: linear layers as in `torch.nn.Linear`, normalisation as the identity."""
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

    def forward(self, arrays: Arrays, rows: Tensor, batch: Minibatch | None) -> tuple[Tensor, list[Any]]:
        """Return the outputs (M, B, C padded) of rows (M, B, D padded) or (B, D padded)."""
        x, start = rows, 0
        tape: list[Any] = []
        for layer, size in enumerate(self.sizes[1:-1]):
            below, x = x, affine(x, arrays, layer)
            normal = None
            if self.norm:
                normal = self._batch_norm(x, arrays, layer, batch) if self.norm == "batch" else _layer_norm(x, size)
                x = normal[0] * arrays[f"gain_{layer}"] + arrays[f"shift_{layer}"]
            x, stop = x.relu_(), start + aligned(size)
            if batch is not None and batch.keep is not None:
                x.mul_(batch.keep[..., start:stop])
            tape.append((below, normal, slice(start, stop)))
            start = stop
        tape.append((x, None, None))
        return affine(x, arrays, len(self.sizes) - 2), tape

    def backward(self, arrays: Arrays, tape: list[Any], gradient: Tensor, batch: Minibatch, slopes: Arrays) -> None:
        """Compute the gradients of all arrays, from the last layer to the first."""
        for layer in reversed(range(len(tape))):
            below = tape[layer][0]
            affine_slopes(below, gradient, layer, slopes)
            if not layer:
                break
            _, normal, units = tape[layer - 1]
            gradient = torch.bmm(gradient, arrays[f"weight_{layer}"].transpose(1, 2))
            if batch.keep is not None:
                gradient.mul_(batch.keep[..., units])
            gradient.mul_(below > 0)
            if normal is not None:
                torch.sum(gradient * normal[0], 1, keepdim=True, out=slopes[f"gain_{layer - 1}"])
                torch.sum(gradient, 1, keepdim=True, out=slopes[f"shift_{layer - 1}"])
                gradient = self._norm_slope(gradient * arrays[f"gain_{layer - 1}"], normal, batch, layer - 1)

    def _norm_slope(self, gradient: Tensor, normal: tuple[Tensor, Tensor], batch: Minibatch, layer: int) -> Tensor:
        """Return the gradient of a normalisation's input, given its output and the gradient of the output."""
        x, scale = normal
        if self.norm == "batch":
            mean, along = (
                (gradient * batch.share).sum(1, keepdim=True),
                (gradient * x * batch.share).sum(1, keepdim=True),
            )
            return (gradient - mean - x * along) * scale * (batch.share > 0)
        size = self.sizes[layer + 1]
        mean, along = (values.sum(-1, keepdim=True) / size for values in (gradient, gradient * x))
        return (gradient - mean - x * along) * scale * _real(x, size)

    def _batch_norm(self, x: Tensor, arrays: Arrays, layer: int, batch: Minibatch | None) -> tuple[Tensor, Tensor]:
        """As `torch.nn.BatchNorm1d` for each network; a batch of one row does not update the running statistics."""
        mean, variance = arrays[f"mean_{layer}"], arrays[f"variance_{layer}"]
        if batch is not None:
            running = mean, variance
            mean = (x * batch.share).sum(1, keepdim=True)
            variance = ((x - mean).square() * batch.share).sum(1, keepdim=True)
            n = (batch.share > 0).sum(1, keepdim=True)
            rate = MOMENTUM * (n > 1)
            running[0].lerp_(mean, rate)
            running[1].lerp_(variance * (n / (n - 1).clamp(min=1)), rate)
        scale = (variance + NORM_EPS).rsqrt()
        return (x - mean) * scale, scale

    def state(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays for `predict_layers`; batch normalisation is merged into the linear layer before it."""
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


def _layer_norm(x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """As `torch.nn.LayerNorm` over the unpadded units; padding stays zero."""
    real = _real(x, size)
    centred = (x - (x * real).sum(-1, keepdim=True) / size) * real
    scale = (centred.square().sum(-1, keepdim=True) / size + NORM_EPS).rsqrt()
    return centred * scale, scale


def _real(x: Tensor, size: int) -> Tensor:
    return torch.arange(x.shape[-1], device=x.device) < size
