"""Precision, recall and F1 of each class, and balanced accuracy, with intervals clustered by group.

Each is a ratio of sums over clips: hits over weights. The interval is that of `accuracy_interval`, with the residuals
of the linearised ratio (Woodruff 1971) instead of those of a mean. For recall both are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heads.evaluation import metrics
from heads.evaluation.predictions import Predictions
from heads.evaluation.statistics import cluster_interval

Estimate = tuple[float, float, float]
"""A score, and the lower and upper end of its 95 % interval."""


@dataclass(frozen=True)
class ClassEstimates:
    """Scores of one class. None: the score is not defined, because the class was never predicted or has no test clip.

    Attributes:
        support: Test clips of the class.
        precision: Correct fraction of the clips that are predicted as the class.
        recall: Fraction of the class' clips that are predicted as it.
        f1: Harmonic mean of both.
    """

    support: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None


def class_estimates(predictions: Sequence[Predictions], groups: np.ndarray) -> dict[int, ClassEstimates]:
    """Compute the scores of each class that has test clips or is predicted. Scores are means over repetitions.

    Args:
        predictions: Predictions of one model for classes, all folds and repetitions.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
    """
    pooled = list(metrics.pool(predictions).values())
    numbers = np.unique(groups, return_inverse=True)[1]
    n_classes = pooled[0].probabilities.shape[1]
    true = clips_by_class(pooled[0].targets, n_classes)
    predicted = [clips_by_class(one.predicted, n_classes) for one in pooled]
    found = {}
    for own in range(n_classes):
        rows = np.unique(np.concatenate([true[own], *(one[own] for one in predicted)]))
        if not len(rows):
            continue
        truth = np.isin(rows, true[own], assume_unique=True).astype(float)
        said = np.stack([np.isin(rows, one[own], assume_unique=True) for one in predicted]).astype(float)
        hits, whole = said * truth, np.broadcast_to(truth, said.shape)
        found[own] = ClassEstimates(
            support=int(truth.sum()),
            precision=ratio_interval(hits, said, numbers[rows]),
            recall=ratio_interval(hits, whole, numbers[rows]),
            f1=ratio_interval(hits, (said + whole) / 2, numbers[rows]),
        )
    return found


def clips_by_class(values: np.ndarray, n_classes: int) -> list[np.ndarray]:
    """Return the clips of each class, ascending, from class numbers (n,) or zeros and ones (n, C)."""
    if values.ndim == 2:
        number, clips = np.nonzero(values.T)
    else:
        clips = np.argsort(values, kind="stable")
        number = values[clips]
    return np.split(clips, np.searchsorted(number, np.arange(1, n_classes)))


def ratio_interval(hits: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> Estimate | None:
    """Compute the mean over repetitions of Σ hits / Σ weights, and its interval.

    Args:
        hits: Numerator of each clip, shape (R, n), at most its weight.
        weights: Denominator of each clip, shape (R, n), not negative.
        groups: Group of each clip, shape (n,) int.

    Returns:
        The score and the ends of its interval; None if all weights are zero. Repetitions without weight are left out.
    """
    ratio = _linearised(hits, weights)
    if ratio is None:
        return None
    share, residuals, sizes, counting = ratio
    of = np.unique(groups[counting], return_inverse=True)[1]
    sums = np.bincount(of, weights=residuals), np.bincount(of, weights=sizes)
    return share, *cluster_interval(share, *sums, alike=not residuals.any())


def grouped_ratio(hits: np.ndarray, weights: np.ndarray) -> Estimate | None:
    """Compute the same as `ratio_interval` from sums over groups, for clips that are hits or not.

    Args:
        hits: Hits of each group, shape (R, G), at most its weights.
        weights: Clips of each group that count, shape (R, G).

    Returns:
        The ratio and its ends; None if no clips count.
    """
    ratio = _linearised(hits, weights)
    if ratio is None:
        return None
    share, residuals, sizes, _ = ratio
    return share, *cluster_interval(share, residuals, sizes, alike=share in (0.0, 1.0))


def _linearised(hits: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray] | None:
    """Linearise the mean over repetitions of Σ hits / Σ weights.

    Returns:
        The ratio; the residual and the weight of each clip or group that has weight; and which ones have, shape (n,).
        None if all weights are zero. Repetitions without weight are left out.
    """
    totals = weights.sum(axis=1)
    kept = totals > 0
    if not kept.any():
        return None
    hits, weights, totals = hits[kept], weights[kept], totals[kept]
    shares = hits.sum(axis=1) / totals
    counting = weights.sum(axis=0) > 0
    scale = totals.mean() / totals[:, None]
    residuals = (scale * (hits - shares[:, None] * weights)).mean(axis=0)[counting]
    return float(shares.mean()), residuals, (scale * weights).mean(axis=0)[counting], counting


def balanced_accuracy_interval(predictions: Sequence[Predictions], groups: np.ndarray) -> tuple[float, float]:
    """Compute the interval of balanced accuracy: the mean of the classes' recalls.

    Args:
        predictions: Predictions of one model, all folds and repetitions.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.

    Returns:
        Lower and upper end.
    """
    clips = metrics.clip_scores(predictions)
    score, target = clips["score"].to_numpy(), clips["target"].to_numpy()
    of = np.unique(groups, return_inverse=True)[1]
    classes, number, counts = np.unique(target, return_inverse=True, return_counts=True)
    recalls = np.bincount(number, weights=score) / counts
    weights = 1 / (len(classes) * counts[number])  # of each clip; they sum to 1
    weights *= 1 / float((weights**2).sum())  # they sum to the number of equally weighted clips that they are worth
    residuals = np.bincount(of, weights=weights * (score - recalls[number]))
    sizes = np.bincount(of, weights=weights)
    return cluster_interval(float(recalls.mean()), residuals, sizes, alike=bool(np.all(score == score[0])))
