"""Standardised training and validation rows of one fold and layer: all data that the training of a head sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from features.labels import Task
from heads.batched.moments import RunningMoments, chunk_moments, chunks_of_rows
from heads.batched.target_rows import TargetRows
from heads.batched.vectors import Vectors, read_layers
from heads.splits.protocol import Split

ALL_LAYERS = -1  # the `layer` of a block that contains all layers
Item = TypeVar("Item")
RESOLUTION = {"float64": 1e-12, "float32": 1e-6, "float16": 1e-3}
"""Deviation, relative to the mean, up to which a column of this type is constant: it can be rounding."""


class Place(NamedTuple):
    """The fold and layer of a block: position in the splits, and on the layer axis (or `ALL_LAYERS`)."""

    fold: int
    layer: int


@dataclass(frozen=True)
class Block:
    """The training and validation rows of one fold and layer. It contains no test rows.

    Attributes:
        train: Standardised training rows, shape (n, D) float32; (n, L, D) with all layers.
        train_targets: Classes (n,) int64; zeros and ones (n, C) uint8; standardised values (n, 1) float64.
        valid: Validation rows, standardised with `mean` and `scale`, (v, D) or (v, L, D); v may be 0.
        valid_targets: Targets of the validation rows, as `train_targets`.
        mean: Mean of the training rows, shape (D,) or (L, D) float64.
        scale: Standard deviation of the training rows, same shape; infinite for constant columns, see `scales`.
        target_mean: Mean of the training values in regression, else 0.
        target_scale: Standard deviation of the training values in regression, else 1.
    """

    train: Tensor
    train_targets: Tensor
    valid: Tensor
    valid_targets: Tensor
    mean: np.ndarray
    scale: np.ndarray
    target_mean: float = 0.0
    target_scale: float = 1.0


Loader = Callable[[Place], Block]


@dataclass(frozen=True)
class BlockFit:
    """One candidate (a configuration on a block) with one fit per seed; deterministic heads have one fit.

    Attributes:
        place: The block.
        configuration: Position in the grid.
        states: Per fit, the arrays that its predictor needs, by name, including the standardisation.
        valid_loss: Per fit, see `heads.batched.losses`; nan if the fit failed or there are no validation rows.
        epochs: Per fit, passes over the training rows, or iterations of the solver.
        params_trained: Number of trained parameters of one fit.
    """

    place: Place
    configuration: int
    states: Sequence[Mapping[str, np.ndarray]]
    valid_loss: np.ndarray
    epochs: np.ndarray
    params_trained: int

    @property
    def rank(self) -> tuple[float, int, int]:
        """Sort key by validation loss; the first candidate is chosen."""
        loss = float(self.valid_loss.mean())
        return (loss if np.isfinite(loss) else np.inf, self.configuration, self.place.layer)


def standardize(
    features: Vectors,
    targets: np.ndarray,
    split: Split,
    layer: int,
    device: torch.device,
    task: Task = "single-label",
) -> Block:
    """Standardise one split's training and validation rows by mean and standard deviation of the training rows.

    Args:
        features: Vectors of all clips.
        targets: Classes (N,), zeros and ones (N, C), or values (N,).
        split: The rows.
        layer: Position on the layer axis, or `ALL_LAYERS`.
        device: Device of the block.
        task: The task, which determines the form of the targets.

    Returns:
        The block.
    """
    read = partial(read_layers, features) if layer == ALL_LAYERS else partial(features.read, layer=layer)
    train, n_train = read(split.train), len(split.train)
    moments = RunningMoments(train.shape[1:])
    for part in chunks_of_rows(n_train, train[0].size):
        moments.add(chunk_moments(train[part].astype(np.float64)))
    mean, scale = moments.mean, scales(moments.spread, moments.mean, features.dtype)
    answers = TargetRows(targets, np.concatenate([split.train, split.valid]), task, device, n_train)

    def rows(values: np.ndarray) -> Tensor:
        return torch.from_numpy(divided(values, mean, scale)).to(device)

    return Block(
        train=rows(train),
        train_targets=answers.take(slice(n_train)),
        valid=rows(read(split.valid)),
        valid_targets=answers.take(slice(n_train, None)),
        mean=mean,
        scale=scale,
        target_mean=answers.mean,
        target_scale=answers.scale,
    )


def divided(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Standardise rows (n, …) chunk by chunk in float64 and return them as float32, in the same memory if possible."""
    found = values if values.dtype == np.float32 else np.empty(values.shape, dtype=np.float32)
    for part in chunks_of_rows(len(values), mean.size):
        found[part] = (values[part] - mean) / scale
    return found


def scales(spread: np.ndarray, mean: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return what standardised columns are divided by: their deviation, or infinity for constant columns.

    A column that is constant in the training rows tells nothing about the targets. Divided by infinity it is zero
    everywhere. Divided by a rounding error, or by 1, it could have any size in rows that differ from the training
    rows, and weights that no training row has tested.

    Args:
        spread: Standard deviation of each column over the training rows.
        mean: Mean of each column.
        dtype: Type in which the features were stored, which determines their rounding errors.
    """
    smallest = RESOLUTION.get(np.dtype(dtype).name, RESOLUTION["float64"])
    return np.where(spread > smallest * np.maximum(np.abs(mean), 1e-30), spread, np.inf)


def chunks(items: Sequence[Item], bytes_each: int, budget: int) -> Iterator[Sequence[Item]]:
    """Split a list into chunks that fit the memory budget, with at least one item each."""
    size = max(1, budget // bytes_each)
    for start in range(0, len(items), size):
        yield items[start : start + size]
