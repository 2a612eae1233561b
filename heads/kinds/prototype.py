"""Softmax over the distances to class means, as in prototypical networks (Snell et al. 2017, arXiv 1703.05175)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
from pydantic import Field

from features.errors import ConfigError
from features.labels import Task
from heads.batched.inference import State, check_shape, in_parts, outputs, standardisation, standardized
from heads.batched.job import HeadType, Job
from heads.options import Grid, HeadOptions, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import Block, BlockFit, Loader, Place

VALID_ROWS = 2048  # validation rows that are scored at once
SHORTEST = 1e-12  # rows that are shorter have no direction


class PrototypeOptions(HeadOptions):
    """Softmax over the distances to the mean of each class (Snell et al. 2017), on frozen embeddings.

    Attributes:
        metric: Squared Euclidean distance between standardised embeddings over their dimension, or cosine.
        temperature: Distances are divided by it; `learned`: the one with the lowest log loss of training clips, each
            left out of its own class mean.
    """

    grid: ClassVar[tuple[str, ...]] = ("metric", "temperature")

    name: Literal["prototype"] = "prototype"
    metric: Grid[Literal["euclidean", "cosine"]] = Field(["euclidean", "cosine"])
    temperature: Grid[Positive | Literal["learned"]] = Field(["learned"])


def check_task(options: PrototypeOptions, task: Task) -> None:
    """Refuse a task without classes.

    Raises:
        ConfigError: The task is regression.
    """
    if task == "regression":
        raise ConfigError("name: prototype needs classes, but the labels are numbers; use linear, mlp or knn")


def fit_prototype(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Compute the class means of every block, with every metric and temperature; on a CPU, each block on one thread.

    With several labels, each class has a prototype of its clips and one of all others, and the score is the difference
    of the distances.

    Args:
        places: The blocks.
        load: Returns the block of a place.
        job: The grid, and the settings shared by all fits.

    Yields:
        One candidate per block and configuration, with one fit each.

    Raises:
        ConfigError: The task is regression.
    """
    from heads.batched.cores import on_cores

    check_task(cast(PrototypeOptions, job.options), job.task)
    units = [partial(_fit_block, place, load, job) for place in places]
    yield from on_cores(units, job.cores, job.device, 24 * (job.n_train + job.n_valid) * job.dim)


def _fit_block(place: Place, load: Loader, job: Job) -> Iterator[BlockFit]:
    """Fit every configuration on one block."""
    from heads.batched.blocks import BlockFit
    from heads.batched.prototypes import Prototypes, learnt_scale

    block = load(place)
    members = _members(block, job)
    for metric in dict.fromkeys(point["metric"] for point in job.grid):
        rows = _directed(block.train.double(), metric)
        prototypes = Prototypes(rows, members, job.task, metric)
        weight, bias, known = prototypes.scorer()
        for configuration, point in enumerate(job.grid):
            if point["metric"] != metric:
                continue
            learned = point["temperature"] == "learned"
            scale = learnt_scale(prototypes, rows, members) if learned else 1 / point["temperature"]
            scaled = scale * weight, bias.where(~known, scale * bias)
            state = {
                **standardisation(block),
                "weight_0": scaled[0].cpu().numpy(),
                "bias_0": scaled[1].cpu().numpy(),
                "directed": np.array([metric == "cosine"]),
            }
            loss = np.array([_valid_loss(block, job, metric, *scaled)])
            yield BlockFit(place, configuration, [state], loss, np.array([0]), weight.numel() + int(learned))


def _members(block: Block, job: Job) -> Tensor:
    """Return which classes each training row has, zeros and ones (n, C) float64."""
    from torch.nn.functional import one_hot

    targets = block.train_targets
    return (one_hot(targets.long(), job.n_outputs) if job.task == "single-label" else targets).double()


def _directed(rows: Tensor, metric: str) -> Tensor:
    """Return rows (n, D), of length 1 for cosines."""
    if metric == "euclidean":
        return rows
    return rows / rows.square().sum(1, keepdim=True).sqrt().clamp(min=SHORTEST)


def _valid_loss(block: Block, job: Job, metric: str, weight: Tensor, bias: Tensor) -> float:
    """Return the mean loss of the validation rows; nan without rows."""
    from heads.batched.losses import row_losses

    if not len(block.valid):
        return np.nan
    total = 0.0
    for rows, targets in zip(block.valid.split(VALID_ROWS), block.valid_targets.split(VALID_ROWS), strict=True):
        scores = _directed(rows.double(), metric) @ weight + bias
        total += float(row_losses(scores, targets, job.task).sum())
    return total / len(block.valid)


def predict_prototype(state: State, features: np.ndarray, task: Task = "single-label") -> np.ndarray:
    """Predict by the distances to the class means.

    Args:
        state: From `fit_prototype`.
        features: Raw features of the head's layer and poolings, shape (n, D).
        task: The task, which determines the kind of outputs.

    Returns:
        Probabilities, shape (n, C) float32; computed in float64.

    Raises:
        ValueError: The dimension of the features is not the one the head was trained on.
    """
    check_shape(state, features.shape)

    def predict(part: slice) -> np.ndarray:
        x = standardized(state, features[part])
        if state["directed"][0]:
            x = x / np.maximum(np.sqrt(np.square(x).sum(axis=1, keepdims=True)), SHORTEST)
        return outputs(state, x @ state["weight_0"] + state["bias_0"], task)

    return in_parts(predict, len(features), state["weight_0"].shape[1], max(state["weight_0"].shape))


def prototype_graph(arrays: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """Compute the scores of `predict_prototype` on torch tensors, for ONNX export.

    Args:
        arrays: A trained state.
        features: Raw features, shape (n, D).

    Returns:
        Shape (n, C).
    """
    x = (features - arrays["mean"]) / arrays["scale"]
    length = x.square().sum(1, keepdim=True).sqrt().clamp(min=SHORTEST)
    x = x / (arrays["directed"] * length + (1 - arrays["directed"]))
    return x @ arrays["weight_0"] + arrays["bias_0"]


HEAD = HeadType(PrototypeOptions, fit_prototype, predict_prototype, apart=True, graph=prototype_graph, check=check_task)
