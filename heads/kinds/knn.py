"""k nearest neighbours; all values of k share one list of neighbours per block and metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from features.errors import ConfigError
from features.labels import Task
from heads.batched.inference import State, outputs, standardisation, standardized
from heads.batched.job import HeadType, Job
from heads.options import Count, Grid, HeadOptions

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import Block, BlockFit, Loader, Place

METRICS = ("cosine", "euclidean")  # a state stores the position in this tuple
DISTANCES_BYTES = 2**27  # memory of the distances computed at once


class KnnOptions(HeadOptions):
    """Vote of the k nearest training clips; in regression, the mean of their values.

    Attributes:
        k: Number of neighbours; values above the number of training clips are not considered.
        metric: Distance between standardised embeddings; votes are not weighted by distance.
    """

    grid: ClassVar[tuple[str, ...]] = ("k", "metric")

    name: Literal["knn"] = "knn"
    k: Grid[Count] = Field([1, 3, 5, 10, 20])
    metric: Grid[Literal["cosine", "euclidean"]] = Field(["cosine", "euclidean"])


def fit_knn(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Score every k and metric on every block; nothing is trained.

    All candidates of a block share its training rows in memory. A k above the number of training rows counts
    as failed.

    Args:
        places: The blocks.
        load: Returns the block of a place.
        job: The grid, and the settings shared by all fits.

    Yields:
        One candidate per block and configuration, with one fit each.

    Raises:
        ConfigError: Every k is above the number of training rows of a block.
    """
    from heads.batched.cores import on_cores

    units = [partial(_score_block, place, load, job) for place in places]
    yield from on_cores(units, job.cores, job.device, 2 * DISTANCES_BYTES + 32 * job.n_train * job.dim)


def _score_block(place: Place, load: Loader, job: Job) -> Iterator[BlockFit]:
    """Score every k and metric on one block."""
    from heads.batched.blocks import BlockFit
    from heads.batched.losses import valid_loss

    block = load(place)
    ks = [point["k"] for point in job.grid if point["k"] <= len(block.train)]
    if not ks:
        wanted = ", ".join(dict.fromkeys(str(point["k"]) for point in job.grid))
        n = len(block.train)
        raise ConfigError(f"{job.options.title}: k: {wanted} for {n} training clips; use a smaller one")
    rows = block.train.float()
    answers = _answers(block, job)
    targets = block.valid_targets.cpu().numpy()
    shared = {**standardisation(block), "rows": rows.cpu().numpy(), "answers": answers.cpu().numpy()}
    near = {
        metric: neighbours(block.valid, rows, metric, max(ks)) for metric in {point["metric"] for point in job.grid}
    }
    for configuration, point in enumerate(job.grid):
        k, metric = point["k"], point["metric"]
        loss = np.nan
        if len(targets) and k in ks:
            loss = valid_loss(votes(near[metric], answers, k, job.task).cpu().numpy(), targets, job.task)
        state = {**shared, "k": np.array([k]), "metric": np.array([METRICS.index(metric)])}
        yield BlockFit(place, configuration, [state], np.array([loss]), np.array([0]), 0)


def predict_knn(state: State, features: np.ndarray, task: Task = "single-label") -> np.ndarray:
    """Predict by the nearest training clips.

    Args:
        state: From `fit_knn`.
        features: Raw features of the head's layer and poolings, shape (n, D).
        task: The task, which determines the kind of outputs.

    Returns:
        Smoothed fractions of the votes (n, C) float32, see `votes`; mean values (n, 1) in regression.

    Raises:
        ValueError: The dimension of the features is not the one the head was trained on.
    """
    import torch

    queries = torch.from_numpy(standardized(state, features))
    rows, answers = (torch.from_numpy(np.ascontiguousarray(state[name])) for name in ("rows", "answers"))
    k = int(state["k"][0])
    near = neighbours(queries, rows, METRICS[int(state["metric"][0])], k)
    found = votes(near, answers, k, task).numpy()
    return outputs(state, found, task) if task == "regression" else found.astype(np.float32)


def neighbours(queries: Tensor, rows: Tensor, metric: str, k: int) -> Tensor:
    """Find the k nearest rows of each query, nearest first; ties go to the first row.

    Distances are computed in double precision, a few queries at a time, and compared in single precision, so
    that copies of a clip have equal distances despite rounding.

    Args:
        queries: Shape (m, D) float64.
        rows: Shape (n, D) float32, with n ≥ k.
        metric: One of `METRICS`.
        k: Number of neighbours.

    Returns:
        Positions among the rows, shape (m, k) int64.
    """
    import torch
    from torch.nn.functional import normalize

    rows = rows.double()
    if metric == "cosine":
        queries, rows = normalize(queries), normalize(rows)
    squares, numbers = rows.square().sum(1), torch.arange(len(rows), device=rows.device)
    at_once = max(1, DISTANCES_BYTES // (32 * len(rows)))
    found = [torch.zeros(0, k, dtype=torch.int64, device=rows.device)]
    for part in queries.split(at_once):
        distances = part.square().sum(1, keepdim=True) + squares - 2 * part @ rows.T
        # The bits of non-negative floats sort like the floats; the row number breaks ties.
        keys = distances.clamp(min=0).float().view(torch.int32).long() << 32 | numbers
        found.append(keys.topk(k, largest=False).values & 0xFFFFFFFF)
    return torch.cat(found)


def votes(near: Tensor, answers: Tensor, k: int, task: Task) -> Tensor:
    """Combine the targets of k neighbours.

    A probability is (votes + 1 / C) / (k + 1), as if an additional neighbour had all classes in equal parts,
    so that no probability is 0 and the log loss is finite; in `multi-label` it is (votes + 1 / 2) / (k + 1).

    Args:
        near: Positions of neighbours, nearest first, shape (m, k or more).
        answers: Zeros and ones, or values, of each training row, shape (n, C).
        k: Number of neighbours.
        task: The task, which determines the form of the answers.

    Returns:
        Shape (m, C) float64; the mean value in regression.
    """
    import torch

    total = sum((answers[near[:, at]].double() for at in range(k)), answers.new_zeros(1, dtype=torch.float64))
    if task == "regression":
        return total / k
    return (total + (0.5 if task == "multi-label" else 1 / answers.shape[1])) / (k + 1)


def _answers(block: Block, job: Job) -> Tensor:
    """Return the targets of the training rows, shape (n, C)."""
    import torch
    from torch.nn.functional import one_hot

    if job.task == "single-label":
        return one_hot(block.train_targets, job.n_outputs).to(torch.uint8)
    return block.train_targets.to(torch.uint8 if job.task == "multi-label" else torch.float64)


HEAD = HeadType(KnnOptions, fit_knn, predict_knn, apart=True, no_graph="asks its training clips")
