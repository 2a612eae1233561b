"""A stack of multilayer perceptrons of one shape that train side by side with batched matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.optim.adamw import adamw

from heads.noise import initial_layers

ALIGN = 16  # every width is padded to this: a fit's bits then do not depend on its place in the stack
BETAS, EPS = (0.9, 0.999), 1e-8


def aligned(size: int) -> int:
    """The next multiple of `ALIGN`."""
    return -(-size // ALIGN) * ALIGN


class Stack:
    """M networks with their AdamW states.

    Widths are padded with zeros, which stay zero: padded columns, units and classes have no gradient.

    Attributes:
        parameters: Weights (M, D_in, D_out) and biases (M, 1, D_out) of each layer in turn, float32.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        seeds: Sequence[int],
        dropout: Sequence[float],
        learning_rate: Sequence[float],
        weight_decay: Sequence[float],
        device: torch.device,
    ) -> None:
        """Start M networks.

        Args:
            sizes: D, the hidden widths, C.
            seeds: Of each network, length M; equal seeds start from equal weights.
            dropout: Of each network.
            learning_rate: Of each network.
            weight_decay: Of each network.
            device: Where they train.
        """
        self.sizes = tuple(sizes)
        starts = {seed: [_padded(w, b) for w, b in initial_layers(seed, sizes)] for seed in sorted(set(seeds))}
        self.parameters = [
            torch.stack([starts[seed][layer][part] for seed in seeds]).to(device)
            for layer in range(len(sizes) - 1)
            for part in (0, 1)
        ]
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = torch.zeros(len(seeds), len(self.parameters), device=device)  # the optimiser counts per tensor
        self.keep_share = 1 - torch.tensor(dropout, device=device, dtype=torch.float32)[:, None, None]
        self.rates = list(zip(learning_rate, weight_decay, strict=True))
        self.no_class = torch.zeros(aligned(sizes[-1]), device=device)
        self.no_class[sizes[-1] :] = -torch.inf

    def logits(self, rows: Tensor, noise: Sequence[Tensor] | None = None, fits: slice = slice(None)) -> Tensor:
        """Class scores (m, B, C padded, -inf in the padding).

        Args:
            rows: Standardised features (m, B, D padded), or (B, D padded) for all alike.
            noise: Uniform numbers in [0, 1), (m, B, H padded) for each hidden layer: dropout; None: none.
            fits: Which networks.
        """
        layers = [parameter[fits] for parameter in self.parameters]
        x = rows if rows.ndim == 3 else rows.expand(len(layers[0]), *rows.shape)
        for at in range(0, len(layers), 2):
            x = torch.baddbmm(layers[at + 1], x, layers[at])
            if at + 2 < len(layers):
                x = x.relu()
                if noise is not None:
                    share = self.keep_share[fits]
                    x = x * ((noise[at // 2] < share) / share)
        return x + self.no_class

    def step(self, rows: Tensor, targets: Tensor, weights: Tensor, noise: Sequence[Tensor]) -> None:
        """One AdamW step of every network that has rows in this batch.

        Args:
            rows: (M, B, D padded) float32.
            targets: (M, B) int64.
            weights: Of each row in its network's loss, (M, B); a network whose weights are all 0 rests.
            noise: As for `logits`.
        """
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        log_p = self.logits(rows, noise).log_softmax(-1)
        loss = -(log_p.gather(-1, targets[..., None])[..., 0] * weights).sum()
        gradients = torch.autograd.grad(loss, self.parameters)
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        active = (weights.amax(1) > 0).tolist()
        kinds = (self.parameters, gradients, self.first, self.second)
        views = [list(zip(*(tensor.unbind() for tensor in kind), strict=True)) for kind in kinds]
        steps = self.steps.unbind()
        for rate in dict.fromkeys(self.rates):
            fits = [at for at, own in enumerate(self.rates) if own == rate and active[at]]
            # The fused kernel passes over a network's state once; plain tensor operations took five times as long.
            parameters, slopes, first, second = ([tensor for at in fits for tensor in kind[at]] for kind in views)
            adamw(
                parameters,
                slopes,
                first,
                second,
                max_exp_avg_sqs=[],
                state_steps=[step for at in fits for step in steps[at].unbind()],
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=rate[0],
                weight_decay=rate[1],
                eps=EPS,
                maximize=False,
            )

    def keep(self, fits: Tensor) -> None:
        """Go on with some networks (indices) only."""
        for tensors in (self.parameters, self.first, self.second):
            tensors[:] = [tensor[fits] for tensor in tensors]
        self.steps, self.keep_share = self.steps[fits], self.keep_share[fits]
        self.rates = [self.rates[at] for at in fits.tolist()]

    def state(self, fit: int) -> list[Tensor]:
        """A copy of one network's padded weights and biases."""
        return [parameter[fit].clone() for parameter in self.parameters]

    def unpadded(self, state: Sequence[Tensor]) -> list[tuple[np.ndarray, np.ndarray]]:
        """A state's weights (D_in, D_out) and biases (D_out,) layer by layer, without the padding."""
        layers = []
        for at, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
            weight, bias = (tensor.cpu().numpy() for tensor in state[2 * at : 2 * at + 2])
            layers.append((weight[:fan_in, :fan_out].copy(), bias[0, :fan_out].copy()))
        return layers


def _padded(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """One layer's weights and biases with zeros up to aligned widths, biases as one row."""
    extra_in, extra_out = (aligned(size) - size for size in weight.shape)
    return pad(weight, (0, extra_out, 0, extra_in)), pad(bias[None], (0, extra_out))
