"""k nearest neighbours; all values of k share one list of neighbours per block and metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from features.errors import ConfigError
from features.labels import Task
from heads.batched.inference import State, check_shape, in_parts, outputs, standardisation, standardized
from heads.batched.job import HeadType, Job, ReadState
from heads.options import Count, Grid, HeadOptions

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import Block, BlockFit, Loader, Place

METRICS = ("cosine", "euclidean")  # a state stores the position in this tuple
ALONE_BYTES = 2**25  # a block with more rows than this is searched alone, by all cores


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

    All candidates of a block share one search. A k above the number of training rows counts as failed. States contain
    the training rows, but read them when they are asked for, so that a job holds the rows of few blocks.

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
    from heads.batched.neighbours import DISTANCES_BYTES

    rows_bytes = 4 * job.n_train * job.dim
    if rows_bytes > ALONE_BYTES:
        for place in places:
            yield from _score_block(place, load, job, job.cores)
        return
    units = [partial(_score_block, place, load, job, 1) for place in places]
    yield from on_cores(units, job.cores, job.device, DISTANCES_BYTES + 2 * rows_bytes)


def _score_block(place: Place, load: Loader, job: Job, cores: int) -> Iterator[BlockFit]:
    """Score every k and metric on one block."""
    from heads.batched.blocks import BlockFit

    block = load(place)
    ks = [point["k"] for point in job.grid if point["k"] <= len(block.train)]
    if not ks:
        wanted = ", ".join(dict.fromkeys(str(point["k"]) for point in job.grid))
        n = len(block.train)
        raise ConfigError(f"{job.options.title}: k: {wanted} for {n} training clips; use a smaller one")
    shared = {
        **standardisation(block),
        "answers": _answers(block, job.task).cpu().numpy(),
        "n_outputs": np.array([job.n_outputs]),
    }
    losses = _valid_losses(block, job, max(ks), cores)
    del block  # a state reads it again
    for configuration, point in enumerate(job.grid):
        own = {"k": np.array([point["k"]]), "metric": np.array([METRICS.index(point["metric"])])}
        state = ReadState({**shared, **own}, "rows", partial(load, place))
        yield BlockFit(place, configuration, [state], losses[configuration : configuration + 1], np.array([0]), 0)


def _valid_losses(block: Block, job: Job, k: int, cores: int) -> np.ndarray:
    """Return the validation loss of every configuration; nan without rows, or for a k that is larger than `k`."""
    import torch

    from heads.batched.cores import RowChunks
    from heads.batched.losses import valid_loss
    from heads.batched.neighbours import Neighbours, queries_at_once

    if not len(block.valid):
        return np.full(len(job.grid), np.nan)
    search, answers = Neighbours(block.train), _answers(block, job.task)
    metrics = list(dict.fromkeys(point["metric"] for point in job.grid))

    def work(_: int, part: slice) -> tuple[Tensor, ...]:
        near = search.find(block.valid[part], metrics, k)
        targets = block.valid_targets[part].cpu().numpy()
        losses = torch.full((len(job.grid),), torch.nan, dtype=torch.float64)
        for configuration, point in enumerate(job.grid):
            if point["k"] <= k:
                voted = votes(near[point["metric"]], answers, point["k"], job.task, job.n_outputs).cpu().numpy()
                losses[configuration] = valid_loss(voted, targets, job.task) * len(targets)
        return (losses,)

    with RowChunks(len(block.valid), queries_at_once(len(block.train), job.dim, k), cores) as chunks:
        (total,) = chunks.sum(work)
    return total.numpy() / len(block.valid)


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

    from heads.batched.neighbours import Neighbours, queries_at_once

    check_shape(state, features.shape)
    rows, answers = (torch.from_numpy(np.ascontiguousarray(state[name])) for name in ("rows", "answers"))
    k, metric = int(state["k"][0]), METRICS[int(state["metric"][0])]
    n_outputs = int(state["n_outputs"][0]) if "n_outputs" in state else answers.shape[1]  # older files lack it
    search, at_once = Neighbours(rows), queries_at_once(len(rows), rows.shape[1], k)

    def predict(part: slice) -> np.ndarray:
        queries = torch.from_numpy(standardized(state, features[part]).astype(np.float32))
        near = torch.cat([search.find(some, [metric], k)[metric] for some in queries.split(at_once)])
        found = votes(near, answers, k, task, n_outputs).numpy()
        return outputs(state, found, task) if task == "regression" else found

    return in_parts(predict, len(features), n_outputs, features.shape[1])


def votes(near: Tensor, answers: Tensor, k: int, task: Task, n_outputs: int) -> Tensor:
    """Combine the targets of k neighbours.

    A probability is (votes + 1 / C) / (k + 1), as if an additional neighbour had all classes in equal parts,
    so that no probability is 0 and the log loss is finite; in `multi-label` it is (votes + 1 / 2) / (k + 1).

    Args:
        near: Positions of neighbours, nearest first, shape (m, k or more).
        answers: Classes (n,) of the training rows; or zeros and ones, or values, (n, C).
        k: Number of neighbours.
        task: The task, which determines the form of the answers.
        n_outputs: C.

    Returns:
        Shape (m, C) float64; the mean value in regression.
    """
    import torch

    total = torch.zeros(len(near), n_outputs, dtype=torch.float64, device=near.device)
    for at in range(k):
        own = answers[near[:, at]]
        if answers.ndim == 1:
            total.scatter_add_(1, own[:, None].long(), total.new_ones(len(near), 1))
        else:
            total += own
    if task == "regression":
        return total / k
    return (total + (0.5 if task == "multi-label" else 1 / n_outputs)) / (k + 1)


def _answers(block: Block, task: Task) -> Tensor:
    """Return the targets of the training rows: classes (n,), or zeros and ones or values (n, C)."""
    import torch

    return block.train_targets.to(torch.int32) if task == "single-label" else block.train_targets


HEAD = HeadType(KnnOptions, fit_knn, predict_knn, apart=True, no_graph="asks its training clips")
