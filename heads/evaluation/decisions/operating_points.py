"""Thresholds on probabilities, chosen on validation clips, and the decisions that follow from them.

Each class has a threshold of its own, chosen for the class against the rest. One further threshold is chosen for all
decisions together, one per clip and class. Classes without positive validation clips use it.

The goal `max_false_alarms_per_hour` is met on recordings of background, which have no class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from features.errors import WeightsError
from features.labels import Task
from heads.evaluation.decisions.false_alarms import BackgroundScores, quiet_threshold

Goal = Literal["max_f1", "min_precision", "min_recall", "max_false_alarms_per_hour"]
GOALS: tuple[Goal, ...] = get_args(Goal)


@dataclass(frozen=True)
class Rule:
    """What a threshold should achieve on validation clips.

    Attributes:
        goal: `max_f1`: the highest F1. `min_precision`: the highest recall with at least this precision.
            `min_recall`: the highest precision with at least this recall. `max_false_alarms_per_hour`: the highest
            recall with at most this many windows of background per hour, for each class and for all together.
        value: The wanted precision or recall, 0…1; false alarms per hour; 1 for `max_f1`.
        below: Label of a `single-label` clip whose most probable class is below its threshold; None: the clip gets its
            most probable class.
    """

    goal: Goal
    value: float = 1.0
    below: str | None = None

    def __str__(self) -> str:
        """`max_f1` or `min_precision 0.95`."""
        return self.goal if self.goal == "max_f1" else f"{self.goal} {self.value:g}"


@dataclass(frozen=True)
class Chosen:
    """A threshold and the counts that it gives on validation decisions.

    Attributes:
        threshold: Decisions with at least this probability are positive.
        met: Whether it meets the rule; if not, it is the nearest that exists.
        counts: True positives, false positives, false negatives and true negatives, shape (4,).
    """

    threshold: float
    met: bool
    counts: np.ndarray


@dataclass(frozen=True)
class OperatingPoint:
    """The thresholds of one fit.

    Attributes:
        rule: What they should achieve.
        thresholds: Threshold of each class, shape (C,) float64.
        whole: Threshold for all decisions together.
        own: Whether the threshold was chosen on positive validation clips of the class, shape (C,) bool; if not, it is
            `whole`.
        met: Whether the thresholds meet the rule on validation clips, shape (C,) bool.
        whole_met: Whether `whole` does.
        counts: Counts of each class on validation, see `Chosen`, shape (C, 4); of `whole` in the last row, (C + 1, 4).
    """

    rule: Rule
    thresholds: np.ndarray
    whole: float
    own: np.ndarray
    met: np.ndarray
    whole_met: bool
    counts: np.ndarray

    def stored(self) -> dict[str, Any]:
        """Return the thresholds as JSON values."""
        return {
            "goal": self.rule.goal,
            "value": self.rule.value,
            "below": self.rule.below,
            "thresholds": self.thresholds.tolist(),
            "whole": self.whole,
            "own": self.own.tolist(),
            "met": self.met.tolist(),
            "whole_met": self.whole_met,
            "counts": self.counts.tolist(),
        }

    @staticmethod
    def of(stored: Mapping[str, Any], n_classes: int, where: str) -> OperatingPoint:
        """Return the thresholds that `stored` describes.

        Raises:
            WeightsError: The values do not describe thresholds of C classes; the message starts with `where`.
        """
        try:
            found = OperatingPoint(
                rule=Rule(stored["goal"], float(stored["value"]), stored["below"]),
                thresholds=np.array(stored["thresholds"], dtype=np.float64),
                whole=float(stored["whole"]),
                own=np.array(stored["own"], dtype=bool),
                met=np.array(stored["met"], dtype=bool),
                whole_met=bool(stored["whole_met"]),
                counts=np.array(stored["counts"], dtype=np.int64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{where}: its operating point cannot be read ({error!r}); train it again") from None
        shapes = found.thresholds.shape, found.own.shape, found.met.shape, found.counts.shape
        wanted = ((n_classes,), (n_classes,), (n_classes,), (n_classes + 1, 4))
        if found.rule.goal not in GOALS or shapes != wanted or not np.isfinite(found.thresholds).all():
            raise WeightsError(f"{where}: its operating point does not fit {n_classes} classes; train it again")
        return found


def choose(
    probabilities: np.ndarray,
    targets: np.ndarray,
    rule: Rule,
    task: Task,
    background: BackgroundScores | None = None,
) -> OperatingPoint:
    """Choose the thresholds of one fit on its validation clips.

    Args:
        probabilities: Shape (N, C), calibrated if the model is.
        targets: Class of each clip (N,), or zeros and ones (N, C).
        rule: What they should achieve.
        task: `single-label` or `multi-label`.
        background: Windows of background for validation; the goal `max_false_alarms_per_hour` needs them.

    Raises:
        ValueError: The task is regression, there are no clips, or no background for a goal that needs it.
    """
    if task == "regression" or not len(targets):
        raise ValueError(f"thresholds need classes and validation clips, got {task} with {len(targets)} clips")
    truth = members(targets, probabilities.shape[1], task)

    def chosen(scores: np.ndarray, of: np.ndarray, silent: np.ndarray | None) -> Chosen:
        if rule.goal != "max_false_alarms_per_hour":
            return choose_threshold(scores, of, rule)
        if background is None or silent is None:
            raise ValueError(f"{rule} needs windows of background")
        threshold = quiet_threshold(silent.reshape(-1), rule.value * background.hours, scores)
        return Chosen(threshold, True, _counts(scores, of, threshold))

    quiet = None if background is None else background.scores
    whole = chosen(probabilities.reshape(-1), truth.reshape(-1), quiet)
    own = np.asarray(truth.any(axis=0))
    each = [
        chosen(probabilities[:, at], truth[:, at], None if quiet is None else quiet[:, at])
        if own[at]
        else _given(probabilities[:, at], truth[:, at], whole.threshold)
        for at in range(probabilities.shape[1])
    ]
    return OperatingPoint(
        rule=rule,
        thresholds=np.array([one.threshold for one in each]),
        whole=whole.threshold,
        own=own,
        met=np.array([one.met for one in each]),
        whole_met=whole.met,
        counts=np.stack([*(one.counts for one in each), whole.counts]),
    )


def choose_threshold(scores: np.ndarray, truth: np.ndarray, rule: Rule) -> Chosen:
    """Choose one threshold; it lies halfway between the lowest accepted score and the next lower one.

    Args:
        scores: Probability of each decision, shape (n,).
        truth: Whether each is true, shape (n,) bool; some are.
        rule: What it should achieve. Of equally good thresholds, the one with the highest precision is chosen; for
            `min_recall` the one with the highest recall.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each run of equal scores
    hits, positive = np.cumsum(truth[order])[last], int(truth.sum())
    precision, recall = hits / (last + 1), hits / max(1, positive)
    met = True
    if rule.goal == "max_f1":
        at = int((hits / (last + 1 + positive)).argmax())
    elif rule.goal == "min_precision":
        fitting = precision >= rule.value
        met = bool(fitting.any())
        at = int(np.where(fitting, recall, -1).argmax()) if met else _last_best(precision)
    else:
        at = _last_best(np.where(recall >= rule.value, precision, -1))
        met = bool(recall[at] >= rule.value)
    end = int(last[at])
    threshold = ranked[end] if end + 1 == len(ranked) else (ranked[end] + ranked[end + 1]) / 2
    return Chosen(float(threshold), met, _counts(scores, truth, threshold))


def members(targets: np.ndarray, n_classes: int, task: Task) -> np.ndarray:
    """Return which classes each clip has, shape (N, C) bool."""
    return targets > 0 if task == "multi-label" else targets[:, None] == np.arange(n_classes)


def decide(probabilities: np.ndarray, thresholds: np.ndarray, task: Task, *, abstain: bool = True) -> np.ndarray:
    """Decide which classes each clip has.

    Args:
        probabilities: Shape (N, C).
        thresholds: Threshold of each class, shape (C,).
        task: In `multi-label` each class that reaches its threshold is decided. In `single-label` it is the most
            probable class, if it reaches its threshold.
        abstain: Whether a `single-label` clip has no class if its most probable one is below its threshold.

    Returns:
        Shape (N, C) bool.
    """
    reached = probabilities >= thresholds
    if task == "multi-label":
        return reached
    best = np.zeros_like(reached)
    best[np.arange(len(best)), probabilities.argmax(axis=1)] = True
    return best & reached if abstain else best


def _last_best(values: np.ndarray) -> int:
    """Return the position of the last of the highest values."""
    return len(values) - 1 - int(values[::-1].argmax())


def _given(scores: np.ndarray, truth: np.ndarray, threshold: float) -> Chosen:
    return Chosen(threshold, False, _counts(scores, truth, threshold))


def _counts(scores: np.ndarray, truth: np.ndarray, threshold: float) -> np.ndarray:
    accepted = scores >= threshold
    hits, chosen = int((accepted & truth).sum()), int(accepted.sum())
    missed = int(truth.sum()) - hits
    return np.array([hits, chosen - hits, missed, len(scores) - chosen - missed])
