"""A softmax-weighted sum of layers, followed by one linear layer, as in SUPERB probes (arXiv 2105.01051)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from features.labels import Task
from heads.batched.inference import State, check_shape, in_parts, outputs, parts
from heads.batched.job import HeadType, Job
from heads.options import SteppedOptions

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import BlockFit, Loader, Place
    from heads.batched.vectors import LayerRows


class WeightedSumOptions(SteppedOptions):
    """A softmax-weighted sum of layers, followed by one linear layer (SUPERB, arXiv 2105.01051).

    `layers` selects the layers that are summed.
    """

    grid: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")
    reads = "layers"

    name: Literal["weighted-sum"] = "weighted-sum"


def fit_weighted_sum(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Train every configuration on every block with every seed, see `heads.batched.stepped.early_stopping`.

    Layers are standardised separately, so layer weights do not depend on the layers' scales. All layer weights
    start equal.

    Args:
        places: Blocks of all layers.
        load: Returns the block of a place.
        job: The grid, and the settings shared by all fits.

    Yields:
        One candidate per block and configuration, in no particular order.
    """
    from heads.batched.stepped.early_stopping import train_stepped
    from heads.batched.stepped.weighted_sum import WeightedSum

    network = WeightedSum(job.n_layers, job.dim, job.n_outputs)
    yield from train_stepped(places, load, job, range(len(job.grid)), network)


def predict_weighted_sum(state: State, features: np.ndarray | LayerRows, task: Task = "single-label") -> np.ndarray:
    """Predict with a trained weighted sum of layers, which are read one after another.

    Args:
        state: `mean` and `scale` (L, D), `layer_weights` (L,), which sum to 1, `weight_0` and `bias_0`.
        features: Raw features of all its layers, shape (n, L, D): an array, or rows of vectors.
        task: The task, which determines the kind of outputs.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1); computed in float64.

    Raises:
        ValueError: The shape of the features is not the one the head was trained on.
    """
    check_shape(state, features.shape)
    n, n_layers, dim = features.shape
    shares, weight = (state[name].astype(np.float64) for name in ("layer_weights", "weight_0"))
    mixed = np.zeros((n, dim))
    for layer in range(n_layers):
        for part in parts(n, dim):
            values = features[part, layer].astype(np.float64)
            mixed[part] += shares[layer] * ((values - state["mean"][layer]) / state["scale"][layer])

    def predict(part: slice) -> np.ndarray:
        return outputs(state, mixed[part] @ weight + state["bias_0"], task)

    return in_parts(predict, n, weight.shape[1], max(weight.shape))


def weighted_sum_graph(arrays: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """Compute the scores of `predict_weighted_sum` on torch tensors, for ONNX export.

    Args:
        arrays: A trained state.
        features: Raw features of all its layers, shape (n, L, D).

    Returns:
        Shape (n, C).
    """
    x = (features - arrays["mean"]) / arrays["scale"]
    return (x * arrays["layer_weights"][:, None]).sum(1) @ arrays["weight_0"] + arrays["bias_0"]


HEAD = HeadType(WeightedSumOptions, fit_weighted_sum, predict_weighted_sum, minibatches=True, graph=weighted_sum_graph)
