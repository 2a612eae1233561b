"""Thresholds of trained models: rows of `thresholds.csv` and entries of `thresholds.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from heads.evaluation import metrics
from heads.evaluation.decisions.operating_points import OperatingPoint, members
from heads.evaluation.decisions.ranking_scores import (
    RankingScores,
    mean_of,
    ranking_scores,
    replicate,
    worth_of_ranking,
)
from heads.evaluation.decisions.threshold_outcomes import (
    GRID,
    GroupCounts,
    curve,
    curve_counts,
    curve_rates,
    group_counts,
    pooled_rates,
)
from heads.evaluation.predictions import Predictions
from pipeline.results.decisions.calibration_rows import estimate_columns
from pipeline.results.decisions.fit_decisions import FitDecisions, FitKey, calibrated, key_of

MICRO, MACRO, CLASS = "micro", "macro", "class"
MOST_CURVES = 50  # classes; with more, only the curve of all decisions together is written
RATES = ("precision", "recall", "false_positive_rate")


class ThresholdsOfModel:
    """The decisions of one model, each class against the rest."""

    def __init__(
        self,
        predictions: Sequence[Predictions],
        decisions: Mapping[FitKey, FitDecisions],
        groups: np.ndarray,
        labels: Sequence[str],
    ) -> None:
        """Pool the test predictions over folds.

        Args:
            predictions: Test predictions of a model for classes, all folds and repetitions.
            decisions: Maps and thresholds of its fits; empty if there are none.
            groups: Group of each test clip, shape (n,), clips in the order of their ids.
            labels: Class names.
        """
        mapped = calibrated(predictions, decisions) if decisions else list(predictions)
        pooled = list(metrics.pool(mapped).values())
        self.labels, self.groups = labels, np.unique(groups, return_inverse=True)[1]
        self.truth = members(pooled[0].targets, len(labels), pooled[0].task)  # [n, C]
        self.probabilities = np.stack([one.scores for one in pooled])  # [R, n, C]
        points = {key: own.point for key, own in decisions.items() if own.point is not None}
        self.points = list(points.values())
        self.thresholds = _thresholds_of_rows(mapped, points) if points else None  # [R, n, C + 1]

    def rows(self) -> list[dict[str, Any]]:
        """Return all decisions together, the mean over classes, and each class with test clips."""
        tested = np.flatnonzero(self.truth.any(axis=0)).tolist()
        each = {own: replicate(self._columns([own]), self.groups) for own in tested}
        rankings = {
            own: ranking_scores(one, self.groups, worth_of_ranking(self.truth[:, own], self.groups))
            for own, one in each.items()
        }
        worth = worth_of_ranking(self.truth[:, tested], self.groups)
        micro = ranking_scores(replicate(self._columns(range(len(self.labels))), self.groups), self.groups, worth)
        rows = [self._row(MICRO, "", micro, len(self.labels))]
        rows.append(self._row(MACRO, "", ranking_scores(mean_of(each.values()), self.groups, worth)))
        return rows + [self._row(CLASS, self.labels[own], rankings[own], own) for own in tested]

    def curves(self) -> dict[str, Any]:
        """Return the rates along the threshold: of all decisions together with intervals, of each class without."""
        clips, classes = self.truth.shape
        every = curve_counts(
            self.probabilities.reshape(-1, clips * classes), self.truth.ravel(), np.repeat(self.groups, classes)
        )
        found: dict[str, Any] = {
            "thresholds": GRID.tolist(),
            MICRO: [asdict(point) for point in curve(every)],
        }
        if classes <= MOST_CURVES:
            together = np.zeros_like(self.groups)  # groups only matter for intervals
            found["classes"] = {
                label: curve_rates(curve_counts(self.probabilities[:, :, own], self.truth[:, own], together))
                for own, label in enumerate(self.labels)
                if self.truth[:, own].any()
            }
        return found

    def _columns(self, classes: Sequence[int]) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        return [[(one[:, own], self.truth[:, own]) for own in classes] for one in self.probabilities]

    def _row(self, scope: str, label: str, ranking: RankingScores, at: int | None = None) -> dict[str, Any]:
        """Return one row; `at` is the position of its threshold: a class, or C for all decisions together."""
        row: dict[str, Any] = {"scope": scope, "class": label}
        row["support"] = int(self.truth[:, at].sum() if scope == CLASS else self.truth.sum())
        for name, estimate in vars(ranking).items():
            row |= estimate_columns(name, estimate)
        if at is None or self.thresholds is None:
            return row
        outcome = reduce(add, self._counts(at)).outcome()
        validation = dict(zip(RATES, pooled_rates([point.counts[at] for point in self.points]), strict=True))
        row |= {"rule": str(self.points[0].rule), **_chosen(self.points, at)}
        for rate in RATES:
            estimate = getattr(outcome, rate)
            row |= estimate_columns(rate, estimate) | {f"{rate}_validation": validation[rate]}
            known = estimate is not None and validation[rate] is not None
            row[f"{rate}_gap"] = estimate[0] - validation[rate] if known else None
        return row

    def _counts(self, at: int) -> Iterator[GroupCounts]:
        """Yield the decisions of one class, or of each class by the threshold of all."""
        assert self.thresholds is not None
        classes = range(len(self.labels)) if at == len(self.labels) else [at]
        for own in classes:
            decided = self.probabilities[:, :, own] >= self.thresholds[:, :, at]
            yield group_counts(decided, self.truth[:, own], self.groups)


def _thresholds_of_rows(predictions: Sequence[Predictions], points: Mapping[FitKey, OperatingPoint]) -> np.ndarray:
    """Return the thresholds of the fit that predicted each test clip, shape (R, n, C + 1); the last is that of all."""
    found = []
    for seed, draw in sorted({(one.seed, one.draw) for one in predictions}):
        parts = [one for one in predictions if (one.seed, one.draw) == (seed, draw)]
        rows = [
            np.tile(np.append(points[key_of(one)].thresholds, points[key_of(one)].whole), (len(one.ids), 1))
            for one in parts
        ]
        order = np.argsort(np.concatenate([np.asarray(one.ids, dtype=object) for one in parts]))
        found.append(np.concatenate(rows)[order])
    return np.stack(found)


def _chosen(points: Sequence[OperatingPoint], at: int) -> dict[str, Any]:
    """Return the thresholds of the fits: their mean and range, and in how many fits they were chosen as wanted."""
    whole = at == len(points[0].thresholds)
    values = [point.whole if whole else float(point.thresholds[at]) for point in points]
    met = [point.whole_met if whole else bool(point.met[at]) for point in points]
    own = [whole or bool(point.own[at]) for point in points]
    return {
        "threshold": float(np.mean(values)),
        "threshold_min": min(values),
        "threshold_max": max(values),
        "fits": len(points),
        "fits_met": sum(met),
        "fits_without_positives": len(points) - sum(own),
    }
