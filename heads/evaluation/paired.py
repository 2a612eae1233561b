"""The difference of two models' scores on the same clips, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.labels import Task
from heads.evaluation.bootstrap import draws_for
from heads.evaluation.predictions import Predictions
from heads.evaluation.scores import Evidence, estimation_of
from heads.evaluation.statistics import ALPHA


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

    For one class per clip, the interval is Newcombe's for paired proportions (1998, Statistics in Medicine 17), which
    joins the intervals of both accuracies by the correlation of their errors. Both are `accuracy_interval`, so it is
    clustered by group, and it has a width even if no clip changed. For mAP and CCC it is the difference plus or minus
    Student's t times its standard deviation over bootstrap draws of groups.

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
    p_value = min(one.p_value for one in estimation.compare([before, after], groups, n_draws))
    ends = _newcombe(before, after) if task == "single-label" else _of_draws(before, after, len(np.unique(groups)))
    return PairedDifference(before.value, after.value, *ends, p_value)


def _newcombe(original: Evidence, changed: Evidence) -> tuple[float, float]:
    """Return Newcombe's interval of the difference from per-clip scores and the intervals of both means."""
    spread = original.paired.std() * changed.paired.std()
    covariance = np.mean((original.paired - original.value) * (changed.paired - changed.value))
    correlation = float(np.clip(covariance / spread, -1, 1)) if spread > 0 else 0.0
    (low_1, high_1), (low_2, high_2) = original.interval, changed.interval
    down_1, up_1 = original.value - low_1, high_1 - original.value
    down_2, up_2 = changed.value - low_2, high_2 - changed.value
    difference = changed.value - original.value

    def joined(one: float, other: float) -> float:
        return float(np.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2)))

    return max(-1.0, difference - joined(down_2, up_1)), min(1.0, difference + joined(up_2, down_1))


def _of_draws(original: Evidence, changed: Evidence, n_groups: int) -> tuple[float, float]:
    """Return the interval of the difference from the scores of both models in the same bootstrap draws."""
    from scipy import special

    difference = changed.value - original.value
    if n_groups < 2:
        return -1.0, 1.0
    error = (changed.paired - original.paired).std() * np.sqrt(n_groups / (n_groups - 1))
    half = float(special.stdtrit(n_groups - 1, 1 - ALPHA / 2) * error)
    return difference - half, difference + half
