"""What each model said about the test clips: kept predictions as arrays, clips in the page's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.labels import Task
from heads.evaluation.metrics import pool
from heads.evaluation.predictions import THRESHOLD, Predictions


@dataclass(frozen=True)
class Outcomes:
    """One model on all N test clips, in R repetitions: a repetition is one seed and draw, its folds joined.

    Attributes:
        probabilities: As in `Predictions`, shape (R, N, C) float32.
        targets: As in `Predictions`, shape (N,); in `multi-label` (N, C).
        task: What the numbers are.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    task: Task

    @property
    def predicted(self) -> np.ndarray:
        """What each repetition settles on: as `Predictions.predicted`, shape (R, N); in `multi-label` (R, N, C)."""
        if self.task == "multi-label":
            return (self.probabilities >= THRESHOLD).astype(np.int64)
        return self.probabilities[..., 0] if self.task == "regression" else self.probabilities.argmax(axis=2)

    @property
    def wrong(self) -> np.ndarray:
        """Which decisions are wrong, of classes: shape (R, N); in `multi-label` (R, N, C)."""
        return self.predicted != self.targets


def outcomes(predictions: Sequence[Predictions], ids: Sequence[str]) -> Outcomes:
    """One model's predictions in the order of the page's clips.

    Args:
        predictions: Of one model: any folds, seeds and draws, as `heads.evaluation.metrics.pool` takes them.
        ids: The page's clips, N of them, all of them tested.

    Raises:
        ValueError: As `pool`.
    """
    pooled = list(pool(predictions).values())
    place = {clip: at for at, clip in enumerate(pooled[0].ids)}
    order = np.array([place[clip] for clip in ids], dtype=np.int64)
    return Outcomes(
        probabilities=np.stack([one.probabilities[order] for one in pooled]),
        targets=pooled[0].targets[order],
        task=pooled[0].task,
    )
