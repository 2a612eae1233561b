"""One fold's training and validation rows of one layer, standardised: all that a head's training may see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from heads.protocol import Split

Item = TypeVar("Item")
BUDGET_BYTES = 2**30  # of one stack of fits with its rows


class Place(NamedTuple):
    """Where a block comes from: positions in the splits and on the features' layer axis."""

    fold: int
    layer: int


@dataclass(frozen=True)
class Block:
    """The rows of one place; test rows are not in it.

    Attributes:
        train: Standardised training rows, shape (n, D) float64.
        train_targets: Their classes, shape (n,) int64.
        valid: Validation rows, standardised with the training rows' figures, shape (v, D) float64.
        valid_targets: Their classes, shape (v,) int64.
        mean: Of the training rows, shape (D,) float64.
        scale: Their standard deviation, shape (D,) float64; 1 for constant columns.
    """

    train: Tensor
    train_targets: Tensor
    valid: Tensor
    valid_targets: Tensor
    mean: np.ndarray
    scale: np.ndarray


Loader = Callable[[Place], Block]


@dataclass(frozen=True)
class Fitted:
    """One candidate (a configuration on a block) with one fit per seed; heads that no seed changes have one fit.

    Attributes:
        place: The block.
        configuration: Position in the grid.
        layers: Per fit, weights (D_in, D_out) and biases (D_out,) of each linear layer, on standardised rows.
        valid_log_loss: Per fit, in nats; nan where the fit failed.
        epochs: Per fit, passes over the training rows, or rounds of the solver.
        mean: The block's, shape (D,).
        scale: The block's, shape (D,).
    """

    place: Place
    configuration: int
    layers: list[list[tuple[np.ndarray, np.ndarray]]]
    valid_log_loss: np.ndarray
    epochs: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


def standardize(features: np.ndarray, targets: np.ndarray, split: Split, layer: int, device: torch.device) -> Block:
    """Take one layer of one split's training and validation rows; mean and scale are the training rows'.

    Args:
        features: Shape (N, L, D).
        targets: Shape (N,).
        split: Which rows.
        layer: Position on the layer axis.
        device: Where the block goes.
    """
    train = features[split.train, layer].astype(np.float64)
    mean = train.mean(axis=0)
    scale = train.std(axis=0)
    # Rounding leaves a constant column with a spread of about 1e-16 of its value.
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-30), scale, 1.0)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(device)

    return Block(
        train=tensor((train - mean) / scale),
        train_targets=tensor(targets[split.train].astype(np.int64)),
        valid=tensor((features[split.valid, layer].astype(np.float64) - mean) / scale),
        valid_targets=tensor(targets[split.valid].astype(np.int64)),
        mean=mean,
        scale=scale,
    )


def chunks(items: Sequence[Item], bytes_each: int, budget: int = BUDGET_BYTES) -> Iterator[Sequence[Item]]:
    """Cut a list into runs of items that fit the budget together, one item at least."""
    size = max(1, budget // bytes_each)
    for start in range(0, len(items), size):
        yield items[start : start + size]
