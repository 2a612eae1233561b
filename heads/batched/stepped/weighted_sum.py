"""Forward and backward pass of many weighted sums of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from heads.batched.rng import initial_layers
from heads.batched.stepped.adamw import Arrays, Minibatch, affine, affine_slopes, aligned


class WeightedSum:
    """Weighted sums of layers, see `heads.batched.stepped.adamw.HeadNetwork`."""

    def __init__(self, n_layers: int, dim: int, n_outputs: int) -> None:
        """Define the shapes of the arrays.

        Args:
            n_layers: L.
            dim: D.
            n_outputs: C.
        """
        self.n_layers, self.sizes = n_layers, (dim, n_outputs)
        self.units = 0
        self.n_trained = n_layers + (dim + 1) * n_outputs
        self.trained: dict[str, tuple[int, ...]] = {
            "weight_0": (aligned(dim), aligned(n_outputs)),
            "bias_0": (1, aligned(n_outputs)),
            "mixture": (aligned(n_layers),),
        }
        self.tracked: dict[str, tuple[int, ...]] = {}

    def start(self, seed: int) -> dict[str, Tensor]:
        """Return the initial values: equal layer weights, the linear layer as in `torch.nn.Linear`."""
        weight, bias = initial_layers(seed, self.sizes)[0]
        extra_in, extra_out = (aligned(size) - size for size in self.sizes)
        return {
            "weight_0": pad(weight, (0, extra_out, 0, extra_in)),
            "bias_0": pad(bias[None], (0, extra_out)),
            "mixture": torch.zeros(aligned(self.n_layers)),
        }

    def forward(self, arrays: Arrays, rows: Tensor, batch: Minibatch | None) -> tuple[Tensor, list[Any]]:
        """Return the outputs (M, B, C padded) of rows (M, B, L, D padded) or (B, L, D padded)."""
        shares = arrays["mixture"][:, : self.n_layers].softmax(-1)[:, None, None]  # (M, 1, 1, L)
        # Shared rows are mixed for one network at a time: a single product would copy them for each network.
        mixed = shares @ rows if rows.ndim == 4 else torch.stack([share @ rows for share in shares])
        mixed = mixed[:, :, 0]
        return affine(mixed, arrays, 0), [rows, shares, mixed]

    def backward(self, arrays: Arrays, tape: list[Any], gradient: Tensor, batch: Minibatch, slopes: Arrays) -> None:
        """Compute the gradients of the linear layer and, through the mixed rows, of the layer weights."""
        rows, shares, mixed = tape
        affine_slopes(mixed, gradient, 0, slopes)
        along = torch.bmm(gradient, arrays["weight_0"].transpose(1, 2))  # gradient of the mixed rows
        of_shares = (rows @ along[..., None])[..., 0].sum(1)  # (M, L)
        shares = shares[:, 0, 0]
        slope = shares * (of_shares - (shares * of_shares).sum(-1, keepdim=True))
        slopes["mixture"][:, : self.n_layers] = slope

    def state(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays for `heads.kinds.weighted_sum.predict_weighted_sum`."""
        dim, n_outputs = self.sizes
        mixture = arrays["mixture"][: self.n_layers].astype(np.float64)
        shares = np.exp(mixture - mixture.max())
        return {
            "layer_weights": (shares / shares.sum()).astype(np.float32),
            "weight_0": arrays["weight_0"][:dim, :n_outputs].copy(),
            "bias_0": arrays["bias_0"][0, :n_outputs].copy(),
        }
