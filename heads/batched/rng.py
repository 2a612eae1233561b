"""The randomness of training: every draw a function of seed, epoch and step, never of what trains beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


class Purpose(IntEnum):
    """What a stream of random numbers is for; each has its own."""

    INIT = 0
    ORDER = 1
    DROPOUT = 2


def initial_layers(seed: int, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Weights (D_in, D_out) and biases (D_out,) of linear layers, uniform within ±1/√D_in as in `torch.nn.Linear`."""
    generator = torch.Generator().manual_seed(_number(seed, Purpose.INIT, 0))
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        values = torch.rand(fan_in + 1, fan_out, generator=generator).mul_(2).sub_(1).div_(fan_in**0.5)
        layers.append((values[:-1], values[-1]))
    return layers


def row_order(seed: int, epoch: int, n_rows: int) -> np.ndarray:
    """The order in which an epoch visits its rows, shape (n_rows,)."""
    return np.random.default_rng(_number(seed, Purpose.ORDER, epoch)).permutation(n_rows)


def dropout_stream(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """A generator for one epoch's dropout: its draws belong to the steps in turn."""
    return torch.Generator(device).manual_seed(_number(seed, Purpose.DROPOUT, epoch))


def uniform_integers(stream: torch.Generator, *shape: int) -> Tensor:
    """Uniform numbers over the whole range of int16: a quarter of the random bits that uniform floats take."""
    count = math.prod(shape)
    bits = torch.empty(-(-count // 4), dtype=torch.int64, device=stream.device)
    return bits.random_(-(2**63), None, generator=stream).view(torch.int16)[:count].view(shape)


def _number(seed: int, purpose: Purpose, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, purpose, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
