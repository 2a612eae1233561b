"""Train many networks of the same shape in parallel: batched matrix products, one AdamW state per network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.optim.adamw import adamw

ALIGN = 16  # widths are padded to multiples of this, so that results do not depend on the position in the stack
BETAS, EPS = (0.9, 0.999), 1e-8


def aligned(size: int) -> int:
    """Round up to a multiple of `ALIGN`."""
    return -(-size // ALIGN) * ALIGN


class Rate(NamedTuple):
    """AdamW's learning rate and decoupled weight decay."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class Minibatch:
    """The rows of one step of M networks.

    Attributes:
        rows: Standardised features (M, B, …, D padded) float32; for heads on frames, a
            `heads.batched.stepped.frame_batches.FrameBatch`.
        targets: Targets, see `heads.batched.losses.row_losses`, (M, B) or (M, B, C).
        share: Weight of each row in its network's mean loss, (M, B, 1); 0 for filler rows.
        weights: Class weight of each row (M, B, 1), or of each row and class (M, B, C); None: all 1.
        keep: Dropout factors of the hidden units, (M, B, units); None: no dropout.
    """

    rows: Any
    targets: Tensor
    share: Tensor
    weights: Tensor | None
    keep: Tensor | None


Arrays = Mapping[str, Tensor]


class HeadNetwork(Protocol):
    """Forward and backward pass of a head, for M networks at once.

    Gradients are written by hand, because autograd took half of the time at these sizes.

    Attributes:
        trained: Shapes of one network's trained arrays; padding is zero and stays zero.
        tracked: Shapes of one network's untrained arrays, such as running statistics.
        units: Number of hidden units (padded) in all layers with dropout.
        n_trained: Number of trained parameters of one network, without padding.
    """

    trained: dict[str, tuple[int, ...]]
    tracked: dict[str, tuple[int, ...]]
    units: int
    n_trained: int

    def start(self, seed: int) -> dict[str, Tensor]:
        """Return the initial values of one network's trained and tracked arrays."""

    def forward(self, arrays: Arrays, rows: Any, batch: Minibatch | None) -> tuple[Tensor, list[Any]]:
        """Return the outputs (M, B, C padded), and the values that `backward` needs.

        Args:
            arrays: Trained and tracked arrays, with M networks as first dimension.
            rows: As `Minibatch.rows`, or without M if all networks have the same rows.
            batch: The rest of the step's data in training; None in evaluation.
        """

    def backward(self, arrays: Arrays, tape: list[Any], gradient: Tensor, batch: Minibatch, slopes: Arrays) -> None:
        """Write the gradient of every trained array to `slopes`, given that of the outputs, (M, B, C padded)."""

    def state(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays of one network that the predictor needs, without padding."""


def affine(x: Tensor, arrays: Arrays, layer: int) -> Tensor:
    """Apply linear layer k (`weight_k`, `bias_k`) to x: (M, B, D_in), or (B, D_in) shared by all networks."""
    weight, bias = arrays[f"weight_{layer}"], arrays[f"bias_{layer}"]
    return torch.baddbmm(bias, x if x.ndim == 3 else x.expand(len(weight), *x.shape), weight)


def affine_slopes(x: Tensor, gradient: Tensor, layer: int, slopes: Arrays) -> None:
    """Compute the gradients of linear layer k from its inputs and the gradient of its outputs."""
    torch.bmm(x.transpose(1, 2), gradient, out=slopes[f"weight_{layer}"])
    if f"bias_{layer}" in slopes:
        torch.sum(gradient, 1, keepdim=True, out=slopes[f"bias_{layer}"])


class Stack:
    """The networks in training; networks may be added and removed between steps.

    All trained parameters of a network are stored in one row, so that the fused optimiser reads them once.

    Attributes:
        values: Trained arrays, shape (M, S) float32.
        tracked: Tracked arrays, shape (M, T) float32.
    """

    def __init__(
        self,
        network: HeadNetwork,
        n_outputs: int,
        gradient: Callable[[Tensor, Minibatch], Tensor],
        device: torch.device,
    ):
        """Create an empty stack.

        Args:
            network: The architecture of all networks.
            n_outputs: C.
            gradient: Function of outputs (M, B, C) and batch that returns the gradient of the loss, (M, B, C).
            device: Device to train on.
        """
        self.network, self.n_outputs, self.gradient, self.device = network, n_outputs, gradient, device
        self.values = torch.empty(0, _size(network.trained), device=device)
        self.tracked = torch.empty(0, _size(network.tracked), device=device)
        self._first, self._second = self.values, self.values
        self._steps: list[Tensor] = []
        self.rates: list[Rate] = []
        self._rebuild()

    def __len__(self) -> int:
        """Number of networks."""
        return len(self.rates)

    def enter(self, seeds: Sequence[int], rates: Sequence[Rate]) -> None:
        """Append networks; equal seeds have equal initial weights."""
        started = {seed: self.network.start(seed) for seed in sorted(set(seeds))}
        for name, shapes in (("values", self.network.trained), ("tracked", self.network.tracked)):
            rows = [torch.cat([started[seed][key].flatten() for key in shapes] or [torch.empty(0)]) for seed in seeds]
            setattr(self, name, torch.cat([getattr(self, name), torch.stack(rows).to(self.device)]))
        blank = torch.zeros(len(seeds), self.values.shape[1], device=self.device)
        self._first, self._second = torch.cat([self._first, blank]), torch.cat([self._second, blank])
        self._steps += [torch.zeros((), device=self.device) for _ in seeds]
        self.rates += rates
        self._rebuild()

    def keep(self, fits: Sequence[int]) -> None:
        """Keep only the networks at some positions."""
        index = torch.tensor(fits, dtype=torch.int64, device=self.device)
        for name in ("values", "tracked", "_first", "_second"):
            setattr(self, name, getattr(self, name)[index])
        self._steps = [self._steps[at] for at in fits]
        self.rates = [self.rates[at] for at in fits]
        self._rebuild()

    def _rebuild(self) -> None:
        slopes = torch.zeros_like(self.values)
        self._arrays = _views(self.values, self.network.trained) | _views(self.tracked, self.network.tracked)
        self._slopes = _views(slopes, self.network.trained)
        self._rows = [tensor.unbind() for tensor in (self.values, slopes, self._first, self._second)]
        self._by_rate = {rate: [at for at, own in enumerate(self.rates) if own == rate] for rate in self.rates}
        self._groups = self._grouped(frozenset())

    def _grouped(self, resting: frozenset[int]) -> list[tuple[Rate, list[list[Tensor]]]]:
        """Group values, gradients, moments and step counts of the networks by rate."""
        groups = []
        for rate, members in self._by_rate.items():
            fits = [at for at in members if at not in resting]
            if fits:
                groups.append((rate, [[rows[at] for at in fits] for rows in (*self._rows, self._steps)]))
        return groups

    def scores(self, rows: Any, fits: slice) -> Tensor:
        """Return the outputs (m, B, C) of some networks on the same rows, (B, …, D padded) or a `FrameBatch`."""
        arrays = {name: array[fits] for name, array in self._arrays.items()}
        return self.network.forward(arrays, rows, None)[0][..., : self.n_outputs]

    def step(self, batch: Minibatch, resting: frozenset[int] = frozenset()) -> None:
        """Do one AdamW step for all networks except `resting`, which have no rows in this batch."""
        outputs, tape = self.network.forward(self._arrays, batch.rows, batch)
        padding = outputs.shape[-1] - self.n_outputs
        gradient = pad(self.gradient(outputs[..., : self.n_outputs], batch), (0, padding))
        self.network.backward(self._arrays, tape, gradient, batch, self._slopes)
        for rate, (values, slopes, first, second, steps) in self._grouped(resting) if resting else self._groups:
            # The fused kernel reads a network's state once; plain tensor operations took five times as long.
            adamw(
                values,
                slopes,
                first,
                second,
                max_exp_avg_sqs=[],
                state_steps=steps,
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=rate.learning_rate,
                weight_decay=rate.weight_decay,
                eps=EPS,
                maximize=False,
            )

    def snapshot(self, fit: int) -> tuple[Tensor, Tensor]:
        """Return a copy of one network's arrays."""
        return self.values[fit].clone(), self.tracked[fit].clone()

    def state(self, snapshot: tuple[Tensor, Tensor]) -> dict[str, np.ndarray]:
        """Return the arrays of a snapshot that the predictor needs."""
        arrays: dict[str, np.ndarray] = {}
        for flat, shapes in zip(snapshot, (self.network.trained, self.network.tracked), strict=True):
            arrays |= {name: array[0].cpu().numpy() for name, array in _views(flat[None], shapes).items()}
        with np.errstate(all="ignore"):  # a diverged network has non-finite values
            return self.network.state(arrays)


def _size(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _views(flat: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return views (M, …) of the arrays that are concatenated in the rows of a matrix."""
    parts = flat.split([math.prod(shape) for shape in shapes.values()], dim=1)
    return {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
