"""What thresholds give on test clips: precision, recall and false positive rate with intervals clustered by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heads.evaluation.class_scores import Estimate, grouped_ratio

GRID = np.round(np.linspace(0, 1, 101), 2)
"""Thresholds of curves."""


@dataclass(frozen=True)
class Outcome:
    """Rates of some decisions, means over repetitions. None: not defined.

    Attributes:
        precision: Correct fraction of the positive decisions.
        recall: Fraction of the true ones that are decided positive.
        false_positive_rate: Fraction of the others that are decided positive.
    """

    precision: Estimate | None
    recall: Estimate | None
    false_positive_rate: Estimate | None


@dataclass(frozen=True)
class GroupCounts:
    """Decisions by group, for R repetitions and G groups.

    Attributes:
        hits: True decisions that are positive, shape (R, G).
        chosen: Positive decisions, shape (R, G).
        true: True decisions, shape (G,).
        total: All decisions, shape (G,).
    """

    hits: np.ndarray
    chosen: np.ndarray
    true: np.ndarray
    total: np.ndarray

    def __add__(self, other: GroupCounts) -> GroupCounts:
        """Add the decisions on another class."""
        return GroupCounts(
            self.hits + other.hits, self.chosen + other.chosen, self.true + other.true, self.total + other.total
        )

    def outcome(self) -> Outcome:
        """Return the rates with their 95 % intervals."""
        true = np.broadcast_to(self.true, self.hits.shape)
        return Outcome(
            precision=grouped_ratio(self.hits, self.chosen),
            recall=grouped_ratio(self.hits, true),
            false_positive_rate=grouped_ratio(self.chosen - self.hits, self.total - true),
        )


def group_counts(decided: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> GroupCounts:
    """Count the decisions on one class.

    Args:
        decided: Whether each clip is decided to have the class, shape (R, n) bool.
        truth: Whether it has it, shape (n,) bool.
        groups: Number of each clip's group, 0, 1, …, shape (n,).
    """
    n_groups = int(groups.max()) + 1

    def sums(mask: np.ndarray) -> np.ndarray:
        return np.bincount(groups[mask], minlength=n_groups)

    return GroupCounts(
        hits=np.stack([sums(one & truth) for one in decided]),
        chosen=np.stack([sums(one) for one in decided]),
        true=sums(truth),
        total=np.bincount(groups, minlength=n_groups),
    )


def curve_counts(probabilities: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> GroupCounts:
    """Count the decisions on one class at each threshold of `GRID`.

    Args:
        probabilities: Shape (R, n).
        truth: Shape (n,) bool.
        groups: Number of each clip's group, 0, 1, …, shape (n,).

    Returns:
        Counts whose `hits` and `chosen` have the shape (R, G, thresholds).
    """
    n_groups, cells = int(groups.max()) + 1, len(GRID)

    def reached(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
        place = groups[mask] * cells + np.searchsorted(GRID, scores[mask], side="right") - 1
        counts = np.bincount(place, minlength=n_groups * cells).reshape(n_groups, cells)
        return counts[:, ::-1].cumsum(axis=1)[:, ::-1]

    everything = np.ones(len(truth), dtype=bool)
    return GroupCounts(
        hits=np.stack([reached(one, truth) for one in probabilities]),
        chosen=np.stack([reached(one, everything) for one in probabilities]),
        true=np.bincount(groups, weights=truth, minlength=n_groups),
        total=np.bincount(groups, minlength=n_groups),
    )


def curve(counts: GroupCounts) -> list[Outcome]:
    """Return the rates at each threshold of `GRID`, from `curve_counts`."""
    return [
        GroupCounts(counts.hits[:, :, at], counts.chosen[:, :, at], counts.true, counts.total).outcome()
        for at in range(len(GRID))
    ]


def curve_rates(counts: GroupCounts) -> dict[str, list[float | None]]:
    """Return the same rates as `curve` without their intervals, by the names of `Outcome`."""
    true, total = counts.true[:, None], counts.total[:, None]
    return {
        "precision": _shares(counts.hits, counts.chosen),
        "recall": _shares(counts.hits, np.broadcast_to(true, counts.hits.shape)),
        "false_positive_rate": _shares(counts.chosen - counts.hits, np.broadcast_to(total - true, counts.hits.shape)),
    }


def _shares(hits: np.ndarray, weights: np.ndarray) -> list[float | None]:
    """Return the mean over repetitions of Σ hits / Σ weights at each threshold, see `grouped_ratio`.

    Args:
        hits: Shape (R, G, thresholds).
        weights: Shape (R, G, thresholds).
    """
    parts, totals = hits.sum(axis=1).T, weights.sum(axis=1).T  # [thresholds, R]
    counting = totals > 0
    return [
        float((part[kept] / total[kept]).mean()) if kept.any() else None
        for part, total, kept in zip(parts, totals, counting, strict=True)
    ]


def pooled_rates(counts: Sequence[np.ndarray]) -> tuple[float | None, float | None, float | None]:
    """Return precision, recall and false positive rate on validation, pooled over fits.

    Args:
        counts: True positives, false positives, false negatives and true negatives of each fit.
    """
    hits, alarms, missed, rejected = np.sum(counts, axis=0)
    pairs = ((hits, hits + alarms), (hits, hits + missed), (alarms, alarms + rejected))
    precision, recall, rate = (float(part / whole) if whole else None for part, whole in pairs)
    return precision, recall, rate
