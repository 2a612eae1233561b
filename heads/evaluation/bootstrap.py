"""Bootstrap of scores that are not means over clips (mAP, CCC): intervals, and draws for comparisons.

Groups are resampled, with the same draws for all models; the clips of a drawn group are weighted by the number of
times it was drawn. The intervals are for the expected score of the fitted models on new groups:

- mAP: the variance over draws, multiplied by G / (G - 1), gives an effective sample size for Wilson's formula, as
  in `heads.evaluation.statistics`. Near 1, draws hardly differ, so the lower end is limited to that of a perfect
  ranking times the mAP. A perfect ranking counts as C²/Σ(1/P) observations, for C classes with P groups of positives
  each.
- CCC: Fisher's z-transform as in Lin (1989), with the standard deviation of z over draws and Student's t. If all
  draws are equal, its large-sample value for perfect concordance, 1/√(G - 2), is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heads.evaluation import metrics
from heads.evaluation.predictions import Predictions
from heads.evaluation.statistics import ALPHA, DRAWS, group_weights, resample, wilson

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

    Args:
        predictions: Predictions of one model, all folds and repetitions.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
        n_draws: Number of bootstrap draws.
        seed: Seed of the draws.
    """
    pooled = list(metrics.pool(predictions).values())
    truth = pooled[0].targets > 0
    tested = np.flatnonzero(truth.any(axis=0))
    numbers = np.unique(groups, return_inverse=True)[1]
    block = max(1, CHUNK_CELLS // len(groups))
    draws = []
    for weights in group_weights(int(numbers.max()) + 1, n_draws, seed):
        for at in range(0, len(weights), block):
            drawn = weights[at : at + block, numbers].astype(np.float32)
            found = np.array(
                [
                    [weighted_precision(one.probabilities[:, own], truth[:, own], drawn) for own in tested]
                    for one in pooled
                ]
            )  # (repetitions, classes, draws)
            # A draw without positive clips of some class is ignored for that class.
            there = np.isfinite(found)
            means = np.where(there, found, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
            draws.append(np.where(there.any(axis=1), means, np.nan).mean(axis=0))
    value = metrics.mean_average_precision(predictions)
    drawn_values = np.concatenate(draws)
    drawn_values = np.where(np.isfinite(drawn_values), drawn_values, value)
    low, high = _share_interval(value, drawn_values, truth[:, tested], numbers)
    return Resampled(value, low, high, drawn_values)


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


def resampled_concordance(
    predictions: Sequence[Predictions], groups: np.ndarray, n_draws: int, *, seed: int = 0
) -> Resampled:
    """Compute CCC with its interval and bootstrap draws.

    Args:
        predictions: Predictions of one model, all folds and repetitions.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
        n_draws: Number of bootstrap draws.
        seed: Seed of the draws.
    """
    from scipy import stats

    pooled = list(metrics.pool(predictions).values())
    numbers = np.unique(groups, return_inverse=True)[1]
    draws = np.mean([_resampled_concordance(one, numbers, n_draws, seed) for one in pooled], axis=0)
    value = metrics.concordance(predictions)
    n_groups = int(numbers.max()) + 1
    if n_groups < 3:
        return Resampled(value, -1.0, 1.0, draws)
    sizes = np.bincount(numbers)
    effective = len(numbers) ** 2 / float((sizes**2).sum())
    edge = 1 - 1e-12  # keeps z finite
    error = float(np.std(np.arctanh(np.clip(draws, -edge, edge)))) * np.sqrt(n_groups / (n_groups - 1))
    if error < 1e-9:
        error, edge = 1 / np.sqrt(max(effective - 2, 1.0)), 1 - 1 / (2 * effective)
    half = float(stats.t.ppf(1 - ALPHA / 2, n_groups - 1)) * error
    middle = np.arctanh(np.clip(value, -edge, edge))
    return Resampled(value, min(float(np.tanh(middle - half)), value), max(float(np.tanh(middle + half)), value), draws)


def _resampled_concordance(one: Predictions, numbers: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
    """Compute the CCC of one repetition in each draw, shape (draws,), from sums over groups."""
    truth, predicted = one.targets - one.targets.mean(), one.predicted.astype(np.float64) - one.targets.mean()
    columns = (np.ones_like(truth), truth, predicted, truth**2, predicted**2, truth * predicted)
    sums = np.stack([np.bincount(numbers, weights=column) for column in columns], axis=1)
    n, x, y, xx, yy, xy = resample(sums, n_draws, seed).T
    covariance = xy / n - x * y / n**2
    spread = (xx / n - (x / n) ** 2) + (yy / n - (y / n) ** 2) + (x / n - y / n) ** 2
    return np.divide(2 * covariance, spread, out=np.zeros_like(spread), where=spread > 1e-12 * np.var(truth))


def _share_interval(value: float, draws: np.ndarray, truth: np.ndarray, numbers: np.ndarray) -> tuple[float, float]:
    """Compute the interval of a mean over classes of a score in 0…1."""
    n_groups = int(numbers.max()) + 1
    if n_groups < 2 or not np.isfinite(value):
        return 0.0, 1.0
    positives = np.array([len(np.unique(numbers[column])) for column in truth.T])
    sizes = np.bincount(numbers)
    worth = min(len(positives) ** 2 / float((1 / positives).sum()), len(numbers) ** 2 / float((sizes**2).sum()))
    variance = float(np.var(draws)) * n_groups / (n_groups - 1)
    freedom = max(1.0, min(n_groups, worth) - 1)
    low, high = wilson(value, value * (1 - value) / variance if variance > 1e-12 else worth, freedom)
    return min(low, value * wilson(1.0, worth, freedom)[0]), high
