"""The difference of two models' scores on the same clips, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.labels import Task
from heads.evaluation.bootstrap import draws_for
from heads.evaluation.predictions import Predictions
from heads.evaluation.scores import estimation_of
from heads.evaluation.statistics import TieTest, accuracy_interval


@dataclass(frozen=True)
class PairedDifference:
    """The score of a changed model minus that of the original.

    Attributes:
        original: Score of the original: accuracy, mAP or CCC.
        changed: Score of the changed model.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        p_value: Two-sided p-value of the difference, see `heads.evaluation.statistics.tied_with_best`.
    """

    original: float
    changed: float
    low: float
    high: float
    p_value: float

    @property
    def difference(self) -> float:
        """Score of the changed model minus that of the original."""
        return self.changed - self.original


def paired_difference(
    original: Sequence[Predictions], changed: Sequence[Predictions], groups: np.ndarray, task: Task
) -> PairedDifference:
    """Compare two models that predicted the same clips.

    For one class per clip, the difference is the share of clips that only the changed model classifies correctly minus
    the share of those that only the original does. The interval joins those of both shares, which are
    `accuracy_interval`, as the interval of a difference (MOVER: Zou and Donner 2008). It is clustered by group, and it
    has a width even if no clip changed, unlike that of `tied_with_best`. For mAP and CCC it is the interval of
    `heads.evaluation.statistics.compare`.

    Args:
        original: Predictions of the original model, all folds and repetitions.
        changed: Predictions of the changed model.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
        task: The task.

    Raises:
        ValueError: The models were tested on different clips.
    """
    estimation = estimation_of(task)
    n_draws = draws_for(task, sum(len(one.ids) * one.probabilities.shape[1] for one in original))
    before, after = (estimation.evidence(one, groups, n_draws) for one in (original, changed))
    if before.paired.shape != after.paired.shape:
        raise ValueError(f"{before.paired.shape} and {after.paired.shape} clips; both models need the same")
    test = estimation.compare([before, after], groups, n_draws)[1]
    ends = _of_clips(after.paired - before.paired, groups) if task == "single-label" else _finite(test)
    return PairedDifference(before.value, after.value, *ends, next(iter(test.p_values.values())))


def _of_clips(changes: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Return the interval of the mean change, from the change of each clip in -1…1, shape (n,)."""
    gained, lost = np.maximum(changes, 0), np.maximum(-changes, 0)
    (gained_low, gained_high), (lost_low, lost_high) = (accuracy_interval(one, groups) for one in (gained, lost))
    down = np.hypot(gained.mean() - gained_low, lost_high - lost.mean())
    up = np.hypot(gained_high - gained.mean(), lost.mean() - lost_low)
    return max(-1.0, float(changes.mean() - down)), min(1.0, float(changes.mean() + up))


def _finite(test: TieTest) -> tuple[float, float]:
    """Return the interval of the only difference of a comparison; it is unlimited if there is only one group."""
    ((difference, low, high),) = test.differences.values()
    return (low, high) if np.isfinite(high) else (difference - 2, difference + 2)
