"""k nearest neighbours: every k and metric from one list of neighbours per block and metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

METRICS = ("cosine", "euclidean")  # a state holds the position
DISTANCES_BYTES = 2**27  # of the distances at work at once


class KnnOptions(HeadOptions):
    """The nearest training clips vote; in regression, their mean.

    Attributes:
        k: How many vote; a k beyond the number of training clips is left out of the choice.
        metric: Distance between standardised embeddings; a nearer clip's vote does not count more.
    """

    grid: ClassVar[tuple[str, ...]] = ("k", "metric")

    name: Literal["knn"] = "knn"
    k: Grid[Count] = Field([1, 3, 5, 10, 20])
    metric: Grid[Literal["cosine", "euclidean"]] = Field(["cosine", "euclidean"])


def fit_knn(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Score every k and metric on every block; nothing is trained.

    A state holds the block's training rows once for all its candidates. A k beyond the number of
    training rows has failed.

    Args:
        places: The blocks.
        load: Gives the block of a place.
        job: The grid and what all fits share.

    Yields:
        One candidate per block and configuration, with one fit each.

    Raises:
        ConfigError: Every k is beyond the number of training rows of a block, or the only one where
            there are no validation rows.
    """
    from heads.batched.blocks import BlockFit
    from heads.batched.losses import valid_loss

    for place in places:
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
    """What the nearest training clips say.

    Args:
        state: Of `fit_knn`.
        features: Raw features of the head's layer and poolings, shape (n, D).
        task: What the outputs are.

    Returns:
        Smoothed shares of the votes (n, C) float32, see `votes`; mean values (n, 1) in regression.

    Raises:
        ValueError: The features have another dimension than the head was trained on.
    """
    import torch

    queries = torch.from_numpy(standardized(state, features))
    rows, answers = (torch.from_numpy(np.ascontiguousarray(state[name])) for name in ("rows", "answers"))
    k = int(state["k"][0])
    near = neighbours(queries, rows, METRICS[int(state["metric"][0])], k)
    found = votes(near, answers, k, task).numpy()
    return outputs(state, found, task) if task == "regression" else found.astype(np.float32)


def neighbours(queries: Tensor, rows: Tensor, metric: str, k: int) -> Tensor:
    """The nearest rows of each query, nearest first; of equally near ones the first.

    Distances are computed in double precision, a few queries at a time, and compared in single: copies
    of a clip are equally near, whatever the rounding.

    Args:
        queries: Shape (m, D) float64.
        rows: Shape (n, D) float32, k or more.
        metric: One of `METRICS`.
        k: How many.

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
        # The bits of floats from 0 on are in the floats' order; the row's number settles ties.
        keys = distances.clamp(min=0).float().view(torch.int32).long() << 32 | numbers
        found.append(keys.topk(k, largest=False).values & 0xFFFFFFFF)
    return torch.cat(found)


def votes(near: Tensor, answers: Tensor, k: int, task: Task) -> Tensor:
    """What k neighbours say together.

    A probability is (votes + 1 / C) / (k + 1), as if one more neighbour were of each class in equal parts,
    so that no class is ruled out and the log loss is finite; with several labels (votes + 1 / 2) / (k + 1).

    Args:
        near: Positions of neighbours, nearest first, shape (m, k or more).
        answers: Zeros and ones, or values, of each training row, shape (n, C).
        k: How many vote.
        task: What the answers are.

    Returns:
        Shape (m, C) float64; the mean value in regression.
    """
    import torch

    total = sum((answers[near[:, at]].double() for at in range(k)), answers.new_zeros(1, dtype=torch.float64))
    if task == "regression":
        return total / k
    return (total + (0.5 if task == "multi-label" else 1 / answers.shape[1])) / (k + 1)


def _answers(block: Block, job: Job) -> Tensor:
    """The training rows' targets, shape (n, C)."""
    import torch
    from torch.nn.functional import one_hot

    if job.task == "single-label":
        return one_hot(block.train_targets, job.n_outputs).to(torch.uint8)
    return block.train_targets.to(torch.uint8 if job.task == "multi-label" else torch.float64)


HEAD = HeadType(KnnOptions, fit_knn, predict_knn, no_graph="asks its training clips")
