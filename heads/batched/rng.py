"""Random numbers of training. Draws depend only on seed, epoch and step, not on other fits in the same stack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


class Purpose(IntEnum):
    """Purpose of a stream of random numbers; each purpose has its own stream."""

    INIT = 0
    ORDER = 1
    DROPOUT = 2


def initial_layers(seed: int, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Draw weights (D_in, D_out) and biases (D_out,) of linear layers, uniform in ±1/√D_in as in `torch.nn.Linear`."""
    generator = torch.Generator().manual_seed(_number(seed, Purpose.INIT, 0))
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        values = torch.rand(fan_in + 1, fan_out, generator=generator).mul_(2).sub_(1).div_(fan_in**0.5)
        layers.append((values[:-1], values[-1]))
    return layers


def row_order(seed: int, epoch: int, n_rows: int) -> np.ndarray:
    """Return the order of the rows in an epoch, shape (n_rows,)."""
    return np.random.default_rng(_number(seed, Purpose.ORDER, epoch)).permutation(n_rows)


def dropout_stream(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """Return a generator for one epoch's dropout, from which the steps draw one after another."""
    return torch.Generator(device).manual_seed(_number(seed, Purpose.DROPOUT, epoch))


def uniform_integers(stream: torch.Generator, *shape: int) -> Tensor:
    """Draw uniform integers over the range of int16, which needs a quarter of the random bits of uniform floats."""
    count = math.prod(shape)
    bits = torch.empty(-(-count // 4), dtype=torch.int64, device=stream.device)
    return bits.random_(-(2**63), None, generator=stream).view(torch.int16)[:count].view(shape)


def _number(seed: int, purpose: Purpose, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, purpose, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
