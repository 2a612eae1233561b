"""A softmax-weighted sum of all layers, then one linear layer, as SUPERB probes do (arXiv 2105.01051)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from features.labels import Task
from heads.batched.inference import State, outputs, standardized
from heads.batched.job import HeadType, Job
from heads.options import SteppedOptions

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import BlockFit, Loader, Place

ROWS_AT_ONCE = 256  # of a prediction: in float64 they are twice as large as the features


class WeightedSumOptions(SteppedOptions):
    """A softmax-weighted sum of the layers, then one linear layer (SUPERB, arXiv 2105.01051).

    `layers` says which layers are summed.
    """

    grid: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")
    reads = "layers"

    name: Literal["weighted-sum"] = "weighted-sum"


def fit_weighted_sum(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Train every configuration on every block with every seed, see `heads.batched.early_stopping`.

    Layers are standardised one by one, so a layer's weight does not hide its scale; weights start equal.

    Args:
        places: Blocks that hold all layers.
        load: Gives the block of a place.
        job: The grid and what all fits share.

    Yields:
        One candidate per block and configuration, in no particular order.
    """
    from heads.batched.early_stopping import train_stepped
    from heads.batched.weighted_sum import WeightedSum

    network = WeightedSum(job.n_layers, job.dim, job.n_outputs)
    yield from train_stepped(places, load, job, range(len(job.grid)), network)


def predict_weighted_sum(state: State, features: np.ndarray, task: Task = "single-label") -> np.ndarray:
    """What a trained weighted sum says.

    Args:
        state: `mean` and `scale` (L, D), `layer_weights` (L,), which sum to 1, `weight_0` and `bias_0`.
        features: Raw features of all its layers, shape (n, L, D).
        task: What the outputs are.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1); the arithmetic is float64.

    Raises:
        ValueError: The features have another shape than the head was trained on.
    """
    shares, weight = (state[name].astype(np.float64) for name in ("layer_weights", "weight_0"))
    pieces = np.array_split(features, max(1, -(-len(features) // ROWS_AT_ONCE)))
    scores = [shares @ standardized(state, piece) @ weight + state["bias_0"] for piece in pieces]
    return outputs(state, np.concatenate(scores), task)


def weighted_sum_graph(arrays: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """The scores of `predict_weighted_sum` on torch tensors, for ONNX.

    Args:
        arrays: A trained state.
        features: Raw features of all its layers, shape (n, L, D).

    Returns:
        Shape (n, C).
    """
    x = (features - arrays["mean"]) / arrays["scale"]
    return (x * arrays["layer_weights"][:, None]).sum(1) @ arrays["weight_0"] + arrays["bias_0"]


HEAD = HeadType(WeightedSumOptions, fit_weighted_sum, predict_weighted_sum, graph=weighted_sum_graph)
