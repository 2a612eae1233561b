"""ROC-AUC, average precision and equal error rate of scores, with intervals from a jackknife over groups.

All three follow from the counts of positive and negative decisions at each score. The counts are kept for each block of
groups, so that leaving out a block is a subtraction. The intervals are those of `heads.evaluation.jackknife`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from heads.evaluation.class_scores import Estimate
from heads.evaluation.jackknife import Replicates, blocks_of, freedom_of, share_interval

CHUNK_CELLS = 2**21  # blocks × places in the ranking at a time
Column = tuple[np.ndarray, np.ndarray]
"""Scores of some decisions, one per clip, and whether each is true, both of shape (n,)."""


@dataclass(frozen=True)
class RankingScores:
    """How well scores separate positive from negative decisions. None: one of the two is missing.

    Attributes:
        roc_auc: Area under the receiver operating characteristic.
        average_precision: Mean precision at the positive decisions, as in scikit-learn.
        equal_error_rate: Error where the false positive rate equals the false negative rate; the curve between two
            scores is a straight line.
    """

    roc_auc: Estimate | None
    average_precision: Estimate | None
    equal_error_rate: Estimate | None


@dataclass(frozen=True)
class Replicated:
    """Values of the three scores, mean over repetitions, each with the value without each block of groups.

    Attributes:
        values: Shape (3,), in the order of `RankingScores`; nan if not defined.
        without: Shape (3, blocks).
    """

    values: np.ndarray
    without: np.ndarray


def replicate(repetitions: Sequence[Sequence[Column]], groups: np.ndarray, *, seed: int = 0) -> Replicated:
    """Compute the scores of some decisions, and without each block of groups.

    Args:
        repetitions: The columns of each repetition. Several columns are ranked together, as in a micro average.
        groups: Number of each clip's group, 0, 1, …, shape (n,).
        seed: Seed of the blocks of more than 100 groups.
    """
    blocks = blocks_of(int(groups.max()) + 1, seed)[groups]
    found = [_scores(_counts(columns, blocks)) for columns in repetitions]
    values, without = (np.mean([one[part] for one in found], axis=0) for part in (0, 1))
    return Replicated(values, without)


def ranking_scores(replicated: Replicated, groups: np.ndarray, worth: float) -> RankingScores:
    """Return the scores with their intervals.

    Args:
        replicated: From `replicate`, or the mean over classes of several.
        groups: As in `replicate`.
        worth: Number of observations that a perfect score counts as, see `worth_of_ranking`.
    """
    sizes = np.bincount(groups)
    estimates: list[Estimate | None] = []
    for value, without in zip(replicated.values, replicated.without, strict=True):
        if not np.isfinite(value):
            estimates.append(None)
            continue
        kept = without[np.isfinite(without)]  # a block with all positive clips says nothing about the others
        if len(sizes) < 2 or len(kept) < 2:
            estimates.append((float(value), 0.0, 1.0))
            continue
        low, high = share_interval(Replicates(float(value), kept, min(freedom_of(sizes), len(kept) - 1)), worth)
        estimates.append((float(value), low, high))
    return RankingScores(*estimates)


def mean_of(replicated: Iterable[Replicated]) -> Replicated:
    """Return the mean over classes; a class for which a score is not defined is left out of it."""
    values, without = (np.stack(part) for part in zip(*((one.values, one.without) for one in replicated), strict=True))
    return Replicated(_defined_mean(values), _defined_mean(without))


def worth_of_ranking(truth: np.ndarray, groups: np.ndarray) -> float:
    """Return the effective number of groups (Kish 1965) of the rarer side: positive or negative decisions.

    Args:
        truth: Whether each decision is true, shape (n,) or (n, C).
        groups: Number of each clip's group, shape (n,).
    """
    columns = truth.reshape(len(truth), -1)
    worths = []
    for side in (columns.sum(axis=1), (~columns).sum(axis=1)):
        sums = np.bincount(groups, weights=side)
        worths.append(sums.sum() ** 2 / (sums**2).sum() if sums.any() else 1.0)
    return float(min(worths))


def _defined_mean(values: np.ndarray) -> np.ndarray:
    defined = np.isfinite(values)
    total = np.where(defined, values, 0).sum(axis=0)
    return np.divide(total, defined.sum(axis=0), out=np.full(total.shape, np.nan), where=defined.any(axis=0))


def _counts(columns: Sequence[Column], blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count positive and negative decisions by block and by place in the ranking.

    Returns:
        Two arrays (blocks, 2 S + 1) for S different scores of positive decisions: the odd places are these scores,
        falling; the even places hold the negative decisions between them.
    """
    positives = [-scores[truth] for scores, truth in columns]
    ends = np.unique(np.concatenate(positives))
    n_places, n_blocks = 2 * len(ends) + 1, int(blocks.max()) + 1
    cells: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for scores, truth in columns:
        falling = -scores
        left = np.searchsorted(ends, falling, side="left")
        own = blocks * n_places + left + np.searchsorted(ends, falling, side="right")
        for side, mask in zip(cells, (truth, ~truth), strict=True):
            side.append(own[mask])
    positive, negative = (
        np.bincount(np.concatenate(side), minlength=n_places * n_blocks).reshape(n_blocks, n_places) for side in cells
    )
    return positive, negative


def _scores(counts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the three scores, shape (3,), and without each block, shape (3, blocks)."""
    positive, negative = (side.sum(axis=0, keepdims=True) for side in counts)
    n_blocks, n_places = counts[0].shape
    some = max(1, CHUNK_CELLS // n_places)
    parts = [slice(at, at + some) for at in range(0, n_blocks, some)]
    without = [_of_counts(positive - counts[0][part], negative - counts[1][part]) for part in parts]
    return _of_counts(positive, negative)[:, 0], np.hstack(without)


def _of_counts(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return the three scores of some weightings from their counts (weightings, places), shape (3, weightings)."""
    hits, alarms = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    n_positive, n_negative = hits[:, -1:], alarms[:, -1:]
    start = np.zeros_like(n_positive)
    with np.errstate(invalid="ignore", divide="ignore"):
        true_rate = np.hstack([start, hits]) / n_positive
        false_rate = np.hstack([start, alarms]) / n_negative
        area = (np.diff(false_rate, axis=1) * (true_rate[:, 1:] + true_rate[:, :-1]) / 2).sum(axis=1)
        precision = np.where(positive > 0, hits / (hits + alarms), 0)
        average = (positive * precision).sum(axis=1) / n_positive[:, 0]
    defined = (n_positive > 0)[:, 0] & (n_negative > 0)[:, 0]
    error = np.full(len(hits), np.nan)
    error[defined] = _equal_error(true_rate[defined], false_rate[defined])
    return np.stack([np.where(defined, area, np.nan), np.where((n_positive > 0)[:, 0], average, np.nan), error])


def _equal_error(true_rate: np.ndarray, false_rate: np.ndarray) -> np.ndarray:
    """Return where the curve meets false positive rate = 1 - true positive rate; it runs from (0, 0) to (1, 1)."""
    surplus = false_rate - (1 - true_rate)  # rises from -1 to 1
    after = (surplus >= 0).argmax(axis=1)
    rows = np.arange(len(surplus))
    low, high = surplus[rows, after - 1], surplus[rows, after]
    share = -low / (high - low)
    return false_rate[rows, after - 1] + share * (false_rate[rows, after] - false_rate[rows, after - 1])
