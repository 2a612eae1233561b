"""One fold and layer whose rows stay where they are and are standardised when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from features.labels import Task
from heads.batched.blocks import ALL_LAYERS, scales
from heads.batched.losses import class_weights
from heads.batched.moments import RunningMoments, chunk_moments, chunks_of_rows
from heads.batched.target_rows import TargetRows
from heads.batched.vectors import SelectedLayers, Vectors
from heads.splits.protocol import Split


@dataclass(frozen=True)
class RowBlock:
    """The training and validation rows of one fold, without their features. It contains no test rows.

    Attributes:
        train: Training rows, shape (n,).
        valid: Validation rows, shape (v,); v may be 0.
        targets: Targets of the training rows, followed by those of the validation rows.
        mean: Mean of the training rows, shape (D,), or (L, D) with all layers; float64.
        scale: Standard deviation of the training rows, same shape; infinite for constant columns, see
            `heads.batched.blocks.scales`.
    """

    train: np.ndarray
    valid: np.ndarray
    targets: TargetRows
    mean: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        """Number of training and validation rows."""
        return len(self.train) + len(self.valid)

    def class_weights(self, class_weight: str | None, n_classes: int) -> torch.Tensor | None:
        """Return the weights of `heads.batched.losses.class_weights` in float32; None if all rows weigh the same."""
        if class_weight is None or self.targets.task == "regression":
            return None
        n = len(self.train)
        return class_weights(self.targets.counts(n, n_classes), n, self.targets.task).float()

    @property
    def target_mean(self) -> float:
        """Mean of the training values in regression, else 0."""
        return self.targets.mean

    @property
    def target_scale(self) -> float:
        """Standard deviation of the training values in regression, else 1."""
        return self.targets.scale


@dataclass(frozen=True)
class VectorBlock(RowBlock):
    """The vectors of one fold, at one layer or at all layers.

    Attributes:
        vectors: The vectors of all clips at the block's layers.
    """

    vectors: Vectors

    def read(self, rows: slice, out: np.ndarray) -> None:
        """Write standardised rows to an array, one layer after another.

        Args:
            rows: Positions among the training rows, followed by the validation rows.
            out: Shape (n, L, at least D) float32; columns beyond D are left alone.
        """
        chosen = np.concatenate([self.train, self.valid])[rows]
        _, n_layers, dim = self.vectors.shape
        means, scale = (values.reshape(n_layers, dim) for values in (self.mean, self.scale))
        for layer in range(n_layers):
            for part, values in _chunks(self.vectors, chosen, layer):
                values -= means[layer]
                values /= scale[layer]
                out[part, layer, :dim] = values


def vector_block(
    features: Vectors, targets: np.ndarray, split: Split, layer: int, device: torch.device, task: Task
) -> VectorBlock:
    """Return the block of a split and layer; mean and scale are computed in one pass over the training rows.

    Args:
        features: Vectors of all clips.
        targets: Classes (N,), zeros and ones (N, C), or values (N,).
        split: The rows.
        layer: Position on the layer axis, or `ALL_LAYERS`.
        device: Device of the targets.
        task: The task, which determines the form of the targets.
    """
    vectors = features if layer == ALL_LAYERS else SelectedLayers(features, [layer])
    _, n_layers, dim = vectors.shape
    means, spreads = np.zeros((n_layers, dim)), np.zeros((n_layers, dim))
    for at in range(n_layers):
        moments = RunningMoments((dim,))
        for _, values in _chunks(vectors, split.train, at):
            moments.add(chunk_moments(values))
        means[at], spreads[at] = moments.mean, moments.spread
    shape = (n_layers, dim) if layer == ALL_LAYERS else (dim,)
    rows = np.concatenate([split.train, split.valid])
    return VectorBlock(
        train=split.train,
        valid=split.valid,
        targets=TargetRows(targets, rows, task, device, len(split.train)),
        mean=means.reshape(shape),
        scale=scales(spreads, means, features.dtype).reshape(shape),
        vectors=vectors,
    )


def _chunks(vectors: Vectors, rows: np.ndarray, layer: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of a layer in chunks: their positions, and a new float64 array (n, D)."""
    for part in chunks_of_rows(len(rows), vectors.shape[2]):
        yield part, vectors.read(rows[part], layer).astype(np.float64)
