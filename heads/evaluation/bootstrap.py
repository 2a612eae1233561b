"""Scores that are not means over clips (mAP, macro F1, CCC): intervals, and bootstrap draws for comparisons.

Groups are resampled, with the same draws for all models; the clips of a drawn group are weighted by the number of
times it was drawn. The draws serve comparisons only. The intervals come from a jackknife over the same groups, see
`heads.evaluation.jackknife`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

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
from heads.evaluation.statistics import DRAWS, group_weights, resample

MAX_CELLS = 2**31  # draws × clips × classes × repetitions of one model
MIN_DRAWS, RANKED_DRAWS = 400, 2000
CHUNK_CELLS = 2**23  # draws × clips at a time


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


def draws_for(models: Sequence[Sequence[Predictions]]) -> int:
    """Return the number of bootstrap draws: 10,000; for mAP 2,000, reduced to as few as 400 for large data sets."""
    if models[0][0].task != "multi-label":
        return DRAWS
    cells = max(sum(one.probabilities.size for one in predictions) for predictions in models)
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
    value = metrics.mean_average_precision(predictions)
    block = max(1, CHUNK_CELLS // len(numbers))
    draws = [np.empty(0)]
    for weights in group_weights(n_groups, n_draws, seed):
        for at in range(0, len(weights), block):
            drawn = weights[at : at + block, numbers].astype(np.float32)
            draws.append(_mean_precision(pooled, tested, partial(weighted_precision, weights=drawn), value))
    if n_groups < 2 or not np.isfinite(value):
        return Resampled(value, 0.0, 1.0, np.concatenate(draws))
    blocks = blocks_of(n_groups, seed)[numbers]
    without = _mean_precision(pooled, tested, partial(precision_without, blocks=blocks), value)
    low, high = share_interval(
        Replicates(value, without, freedom_of(np.bincount(numbers))), worth_of(_sums(truth[:, tested], numbers))
    )
    return Resampled(value, low, high, np.concatenate(draws))


def _mean_precision(
    pooled: Sequence[Predictions], tested: np.ndarray, figures: Callable[..., np.ndarray], otherwise: float
) -> np.ndarray:
    """Compute mAP for many weightings of the clips, mean over repetitions, shape (weightings,).

    A weighting without positive clips of some class is ignored for that class.

    Args:
        pooled: Predictions of each repetition.
        tested: Classes with positive clips.
        figures: Takes one class's probabilities and truth; returns its average precision for each weighting.
        otherwise: The result for a weighting without positive clips of any class.
    """
    truth = pooled[0].targets > 0
    found = np.array([[figures(one.probabilities[:, own], truth[:, own]) for own in tested] for one in pooled])
    there = np.isfinite(found)  # (repetitions, classes, weightings)
    means = np.where(there, found, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return np.where(there.any(axis=1), means, otherwise).mean(axis=0)


def weighted_precision(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute one class's average precision for many weightings of the clips (as scikit-learn, vectorised).

    Args:
        scores: Probability of each clip, shape (n,).
        truth: Whether each clip has the class, shape (n,) bool.
        weights: Weight of each clip in each draw, shape (draws, n).

    Returns:
        Shape (draws,); nan if no positive clip has weight.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, positive = scores[order], np.flatnonzero(truth[order])
    # Each positive clip counts at the end of its block of equal scores.
    ends = np.searchsorted(-ranked, -ranked[positive], side="right") - 1
    steps, last = np.unique(ends, return_index=True)
    weighted = weights[:, order]
    above = np.cumsum(weighted, axis=1, dtype=np.float64)[:, steps]
    hits = np.cumsum(weighted[:, positive], axis=1, dtype=np.float64)
    hits = hits[:, np.append(last[1:], len(positive)) - 1]
    gained = np.diff(hits, axis=1, prepend=0)
    precision = np.divide(hits, above, out=np.zeros_like(hits), where=above > 0)
    total = hits[:, -1]
    return np.divide((gained * precision).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


def precision_without(scores: np.ndarray, truth: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Compute one class's average precision without each block of clips, as `weighted_precision` with weights 0 and 1.

    Args:
        scores: Probability of each clip, shape (n,).
        truth: Whether each clip has the class, shape (n,) bool.
        blocks: Block of each clip, 0, 1, …, shape (n,).

    Returns:
        Shape (blocks,); nan if all positive clips are in the block.
    """
    # A step of the ranking is a score of positive clips; other clips belong to the step at or below their score.
    falling = -scores
    ends = np.unique(falling[truth])
    steps, shape = np.searchsorted(ends, falling, side="left"), (int(blocks.max()) + 1, len(ends))
    ranked = steps < len(ends)

    def outside(clips: np.ndarray) -> np.ndarray:
        """Count the clips of each step that are not in each block, (blocks, steps)."""
        inside = np.bincount(blocks[clips] * len(ends) + steps[clips], minlength=shape[0] * shape[1]).reshape(shape)
        return (inside.sum(axis=0) - inside).astype(np.float64)

    above, gained = np.cumsum(outside(ranked), axis=1), outside(truth)
    hits = np.cumsum(gained, axis=1)
    total = hits[:, -1]
    gained *= hits
    gained /= np.maximum(above, 1)
    return np.divide(gained.sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


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
    decisions = [_decisions(one) for one in metrics.pool(predictions).values()]
    columns = [np.concatenate([true & chosen, true, chosen], axis=1) for true, chosen in decisions]
    value = metrics.macro_f1(predictions)
    draws, without = _from_sums(_macro_f1, columns, numbers, n_draws, seed)
    if len(without) < 2 or not np.isfinite(value):
        return Resampled(value, 0.0, 1.0, draws)
    true = _sums(decisions[0][0], numbers)
    worth = worth_of(true[:, true.any(axis=0)]) if true.any() else 1.0
    low, high = share_interval(Replicates(value, without, freedom_of(np.bincount(numbers))), worth)
    return Resampled(value, low, high, draws)


def _decisions(one: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each clip has each class, and whether it is predicted, both of shape (n, C) bool."""
    if one.task == "multi-label":
        return one.targets > 0, one.predicted > 0
    classes = np.arange(one.probabilities.shape[1])
    return one.targets[:, None] == classes, one.predicted[:, None] == classes


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    """Compute macro F1 from counts of hits, true and predicted clips of each class, shape (weightings, 3 C)."""
    hits, true, chosen = np.split(sums, 3, axis=1)
    there = true + chosen > 0
    figures = np.divide(2 * hits, true + chosen, out=np.zeros_like(hits), where=there)
    return figures.sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def _from_sums(
    score: Callable[[np.ndarray], np.ndarray],
    columns: Sequence[np.ndarray],
    numbers: np.ndarray,
    n_draws: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute a score of sums over clips in bootstrap draws, and without each block of groups.

    Args:
        score: Function of the sums of several weightings, shape (weightings, K).
        columns: What is summed, shape (n, K), for each repetition; scores are means over repetitions.
        numbers: Number of each clip's group, shape (n,).
        n_draws: Number of draws.
        seed: Seed of the draws and of the blocks.

    Returns:
        The score in each draw, shape (n_draws,), and without each block, shape (blocks,); no blocks for one group.
    """
    sums = [_sums(one, numbers) for one in columns]
    blocks = block_weights(len(sums[0]), seed) if len(sums[0]) > 1 else np.empty((0, 1))
    draws = np.mean([score(resample(one, n_draws, seed)) for one in sums], axis=0)
    return draws, np.mean([score(blocks @ one) for one in sums], axis=0)


def _sums(columns: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Sum columns (n, K) over each group's clips, shape (groups, K)."""
    return np.stack([np.bincount(numbers, weights=column) for column in columns.T], axis=1)


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
    value = metrics.concordance(predictions)
    score = partial(_concordance, constant=1e-12 * float(np.var(pooled[0].targets)))
    draws, without = _from_sums(score, [_moments(one) for one in pooled], numbers, n_draws, seed)
    if len(without) < 3:
        return Resampled(value, -1.0, 1.0, draws)
    sizes = np.bincount(numbers)
    replicates = Replicates(float(to_z(value)), to_z(without), freedom_of(sizes))
    low, high = concordance_interval(replicates, len(numbers) ** 2 / float((sizes**2).sum()))
    return Resampled(value, min(low, value), max(high, value), draws)


def _moments(one: Predictions) -> np.ndarray:
    """Return the columns whose sums give the CCC, shape (n, 6)."""
    truth, predicted = one.targets - one.targets.mean(), one.predicted.astype(np.float64) - one.targets.mean()
    return np.stack([np.ones_like(truth), truth, predicted, truth**2, predicted**2, truth * predicted], axis=1)


def _concordance(sums: np.ndarray, constant: float) -> np.ndarray:
    """Compute the CCC of many weightings from sums of `_moments`, shape (weightings, 6); 0 if all is constant.

    All is constant if the sum of the variances and the squared difference of the means is at most `constant`.
    """
    n, x, y, xx, yy, xy = sums.T
    covariance = xy / n - x * y / n**2
    spread = (xx / n - (x / n) ** 2) + (yy / n - (y / n) ** 2) + (x / n - y / n) ** 2
    return np.divide(2 * covariance, spread, out=np.zeros_like(spread), where=spread > constant)
