"""Scores that are not means over clips (mAP, macro F1, CCC): intervals, and bootstrap draws for comparisons.

Groups are resampled, with the same draws for all models; the clips of a drawn group are weighted by the number of
times it was drawn. The draws serve comparisons only. The intervals come from a jackknife over the same groups, see
`heads.evaluation.jackknife`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from features.labels import Task
from heads.evaluation import metrics
from heads.evaluation.jackknife import (
    Replicates,
    block_weights,
    blocks_of,
    concordance_interval,
    freedom_of,
    share_interval,
    to_z,
    worth_of,
)
from heads.evaluation.predictions import Predictions
from heads.evaluation.ranked_clips import RankedClips
from heads.evaluation.resampling import group_weights, resample
from heads.evaluation.statistics import DRAWS

if TYPE_CHECKING:
    from scipy import sparse

MAX_CELLS = 2**31  # draws × clips × classes × repetitions of one model
MIN_DRAWS, RANKED_DRAWS = 400, 2000


@dataclass(frozen=True)
class Resampled:
    """One model's score.

    Attributes:
        value: Mean over repetitions.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        draws: The score in each bootstrap draw, shape (draws,).
    """

    value: float
    low: float
    high: float
    draws: np.ndarray


def draws_for(task: Task, cells: int) -> int:
    """Return the number of bootstrap draws: 10,000; for mAP 2,000, reduced to as few as 400 for large data sets.

    Args:
        task: The task.
        cells: Clips × repetitions × classes of the model with the most predictions.
    """
    if task != "multi-label":
        return DRAWS
    return int(np.clip(MAX_CELLS // max(1, cells), MIN_DRAWS, RANKED_DRAWS))


def resampled_precision(
    predictions: Sequence[Predictions], groups: np.ndarray, n_draws: int, *, seed: int = 0
) -> Resampled:
    """Compute mAP with its interval and bootstrap draws.

    The interval is `heads.evaluation.jackknife.share_interval`: Wilson's, with Student's t and the standard error and
    bias of a jackknife over groups. It does not depend on the draws.

    Args:
        predictions: Predictions of one model, all folds and repetitions.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
        n_draws: Number of bootstrap draws; 0 if only the interval is needed.
        seed: Seed of the draws, and of the blocks of more than 100 groups.
    """
    pooled = list(metrics.pool(predictions).values())
    truth = pooled[0].targets > 0
    tested = np.flatnonzero(truth.any(axis=0))
    numbers = np.unique(groups, return_inverse=True)[1]
    n_groups = int(numbers.max()) + 1
    value = metrics.mean_average_precision(pooled)
    draws = [np.empty(0)]
    for weights in group_weights(n_groups, n_draws, seed) if n_draws else ():
        drawn = np.ascontiguousarray(weights.T, dtype=np.float32)
        weighted = partial(RankedClips.weighted, numbers=numbers, weights=drawn)
        draws.append(_mean_precision(pooled, tested, weighted, value))
    if n_groups < 2 or not np.isfinite(value):
        return Resampled(value, 0.0, 1.0, np.concatenate(draws))
    blocks = blocks_of(n_groups, seed)
    of_clips, n_blocks = blocks[numbers], int(blocks.max()) + 1
    left_out = partial(RankedClips.without, blocks=of_clips, n_blocks=n_blocks)
    without = _mean_precision(pooled, tested, left_out, value)
    from scipy import sparse

    positives = _group_sums(sparse.csr_array(truth, dtype=np.float64), numbers)
    low, high = share_interval(Replicates(value, without, freedom_of(np.bincount(numbers))), worth_of(positives))
    return Resampled(value, low, high, np.concatenate(draws))


def _mean_precision(
    pooled: Sequence[Predictions],
    tested: np.ndarray,
    figures: Callable[[RankedClips], np.ndarray],
    otherwise: float,
) -> np.ndarray:
    """Compute mAP for many weightings of the clips, mean over repetitions, shape (weightings,).

    A weighting without positive clips of some class is ignored for that class.

    Args:
        pooled: Predictions of each repetition.
        tested: Classes with positive clips.
        figures: Takes the ranked clips of one class; returns its average precision for each weighting.
        otherwise: The result for a weighting without positive clips of any class.
    """
    truth = np.ascontiguousarray((pooled[0].targets > 0).T)
    means = []
    for one in pooled:
        columns = np.ascontiguousarray(one.scores.T)
        found = np.array([figures(RankedClips.of(columns[own], truth[own])) for own in tested])
        there = np.isfinite(found)  # (classes, weightings)
        sums = np.where(there, found, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        means.append(np.where(there.any(axis=0), sums, otherwise))
    return np.mean(means, axis=0)


def resampled_macro_f1(
    predictions: Sequence[Predictions], groups: np.ndarray, n_draws: int, *, seed: int = 0
) -> Resampled:
    """Compute macro F1 with its interval and bootstrap draws, as `resampled_precision` does for mAP.

    Args:
        predictions: Predictions of one model, all folds and repetitions.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
        n_draws: Number of bootstrap draws; 0 if only the interval is needed.
        seed: Seed of the draws, and of the blocks of more than 100 groups.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    pooled = list(metrics.pool(predictions).values())
    sums = [_group_sums(_counts(one), numbers) for one in pooled]
    value = metrics.macro_f1(pooled)
    draws, without = _from_sums(_macro_f1, sums, n_draws, seed)
    if len(without) < 2 or not np.isfinite(value):
        return Resampled(value, 0.0, 1.0, draws)
    n_classes = sums[0].shape[1] // 3
    low, high = share_interval(
        Replicates(value, without, freedom_of(np.bincount(numbers))), worth_of(sums[0][:, n_classes : 2 * n_classes])
    )
    return Resampled(value, low, high, draws)


def _counts(one: Predictions) -> sparse.csr_array:
    """Return for each clip and class whether it is a hit, whether it is true, whether it is predicted: (n, 3 C)."""
    from scipy import sparse

    if one.task == "multi-label":
        true, chosen = one.targets > 0, one.predicted > 0
        return sparse.hstack([sparse.csr_array(own, dtype=np.float64) for own in (true & chosen, true, chosen)], "csr")
    n_clips, n_classes = one.probabilities.shape
    clips = np.arange(n_clips)
    chosen, hits = one.predicted, np.flatnonzero(one.predicted == one.targets)
    columns = np.concatenate([chosen[hits], one.targets + n_classes, chosen + 2 * n_classes])
    rows = np.concatenate([hits, clips, clips])
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n_clips, 3 * n_classes))


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    """Compute macro F1 from counts of hits, true and predicted clips of each class, shape (weightings, 3 C)."""
    hits, true, chosen = np.split(sums, 3, axis=1)
    there = true + chosen > 0
    figures = np.divide(2 * hits, true + chosen, out=np.zeros_like(hits), where=there)
    return figures.sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def _from_sums(
    score: Callable[[np.ndarray], np.ndarray],
    sums: Sequence[np.ndarray | sparse.csr_array],
    n_draws: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute a score of sums over clips in bootstrap draws, and without each block of groups.

    Args:
        score: Function of the sums of several weightings, shape (weightings, K).
        sums: Sums over the clips of each group, shape (groups, K), for each repetition; scores are means over them.
        n_draws: Number of draws.
        seed: Seed of the draws and of the blocks.

    Returns:
        The score in each draw, shape (n_draws,), and without each block, shape (blocks,); no blocks for one group.
    """
    n_groups = sums[0].shape[0]
    blocks = block_weights(n_groups, seed) if n_groups > 1 else np.empty((0, 1))
    draws = np.mean([score(resample(one, n_draws, seed)) for one in sums], axis=0)
    return draws, np.mean([score(np.ascontiguousarray(blocks @ one)) for one in sums], axis=0)


def _group_sums(columns: sparse.csr_array, numbers: np.ndarray) -> sparse.csr_array:
    """Sum columns (n, K) over each group's clips, shape (groups, K)."""
    from scipy import sparse

    return sparse.csr_array((np.ones(len(numbers)), (numbers, np.arange(len(numbers))))) @ columns


def resampled_concordance(
    predictions: Sequence[Predictions], groups: np.ndarray, n_draws: int, *, seed: int = 0
) -> Resampled:
    """Compute CCC with its interval and bootstrap draws.

    The interval is `heads.evaluation.jackknife.concordance_interval`: Fisher's z with Student's t and the standard
    error, bias and skewness of a jackknife over groups. It does not depend on the draws.

    Args:
        predictions: Predictions of one model, all folds and repetitions.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
        n_draws: Number of bootstrap draws; 0 if only the interval is needed.
        seed: Seed of the draws, and of the blocks of more than 100 groups.
    """
    pooled = list(metrics.pool(predictions).values())
    numbers = np.unique(groups, return_inverse=True)[1]
    value = metrics.concordance(pooled)
    score = partial(_concordance, constant=1e-12 * float(np.var(pooled[0].targets)))
    draws, without = _from_sums(score, [_moments(one, numbers) for one in pooled], n_draws, seed)
    if len(without) < 3:
        return Resampled(value, -1.0, 1.0, draws)
    sizes = np.bincount(numbers)
    replicates = Replicates(float(to_z(value)), to_z(without), freedom_of(sizes))
    low, high = concordance_interval(replicates, len(numbers) ** 2 / float((sizes**2).sum()))
    return Resampled(value, min(low, value), max(high, value), draws)


def _moments(one: Predictions, numbers: np.ndarray) -> np.ndarray:
    """Return the sums over each group's clips that give the CCC, shape (groups, 6)."""
    truth, predicted = one.targets - one.targets.mean(), one.predicted.astype(np.float64) - one.targets.mean()
    columns = (np.ones_like(truth), truth, predicted, truth**2, predicted**2, truth * predicted)
    return np.stack([np.bincount(numbers, weights=column) for column in columns], axis=1)


def _concordance(sums: np.ndarray, constant: float) -> np.ndarray:
    """Compute the CCC of many weightings from sums of `_moments`, shape (weightings, 6); 0 if all is constant.

    All is constant if the sum of the variances and the squared difference of the means is at most `constant`.
    """
    n, x, y, xx, yy, xy = sums.T
    covariance = xy / n - x * y / n**2
    spread = (xx / n - (x / n) ** 2) + (yy / n - (y / n) ** 2) + (x / n - y / n) ** 2
    return np.divide(2 * covariance, spread, out=np.zeros_like(spread), where=spread > constant)
