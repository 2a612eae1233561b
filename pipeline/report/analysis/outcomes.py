"""Stored predictions of the test clips as arrays, with clips in page order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.labels import Task
from heads.evaluation.metrics import pool
from heads.evaluation.predictions import THRESHOLD, Predictions


@dataclass(frozen=True)
class Outcomes:
    """Predictions of one model for all N test clips in R repetitions. A repetition is one seed and draw, all folds.

    Attributes:
        probabilities: As in `Predictions`, shape (R, N, C) float32.
        targets: As in `Predictions`, shape (N,); (N, C) for `multi-label`.
        task: The task, which defines the meaning of the numbers.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    task: Task

    @property
    def predicted(self) -> np.ndarray:
        """The prediction of each repetition, see `Predictions.predicted`: shape (R, N); (R, N, C) for `multi-label`."""
        if self.task == "multi-label":
            return (self.probabilities >= THRESHOLD).astype(np.int64)
        return self.probabilities[..., 0] if self.task == "regression" else self.probabilities.argmax(axis=2)

    @property
    def wrong(self) -> np.ndarray:
        """Whether each predicted class is wrong: shape (R, N); (R, N, C) for `multi-label`."""
        return self.predicted != self.targets


def outcomes(predictions: Sequence[Predictions], ids: Sequence[str]) -> Outcomes:
    """Return the predictions of one model in page order.

    Args:
        predictions: Predictions of one model for all folds, seeds and draws, see `heads.evaluation.metrics.pool`.
        ids: Ids of the N test clips in page order.

    Raises:
        ValueError: The predictions cannot be pooled, see `pool`.
    """
    pooled = list(pool(predictions).values())
    position = {clip: at for at, clip in enumerate(pooled[0].ids)}
    order = np.array([position[clip] for clip in ids], dtype=np.int64)
    return Outcomes(
        probabilities=np.stack([one.probabilities[order] for one in pooled]),
        targets=pooled[0].targets[order],
        task=pooled[0].task,
    )
