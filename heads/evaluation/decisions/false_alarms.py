"""False alarms: windows of background recordings in which a model decides a class, per hour.

The interval is that of a Poisson rate. Alarms of one recording tend to come together, so several recordings give a
cluster-robust variance. The exact Poisson interval (Garwood 1936) is then computed for the number of alarms that
independent ones with this variance would be, as Korn and Graubard (1998) do for proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.labels import Task
from heads.evaluation.class_scores import Estimate

ALPHA = 0.05


@dataclass(frozen=True)
class Recordings:
    """Windows of background recordings, in order.

    Attributes:
        of_window: Number of each window's recording, 0…G-1, shape (n,) int.
        hours: Length of each recording in hours, shape (G,).
        follows: Whether each window follows the one before it, in the same stretch of a recording, shape (n,) bool.
    """

    of_window: np.ndarray
    hours: np.ndarray
    follows: np.ndarray

    @property
    def total_hours(self) -> float:
        """Length of all recordings in hours."""
        return float(self.hours.sum())

    def alarms(self, decided: np.ndarray) -> np.ndarray:
        """Count the windows of each recording that are decided, shape (G,); `decided` has the shape (n,) bool."""
        return np.bincount(self.of_window[decided], minlength=len(self.hours))

    def events(self, decided: np.ndarray) -> int:
        """Count the runs of consecutive windows that are decided; `decided` has the shape (n,) bool."""
        goes_on = decided[1:] & decided[:-1] & self.follows[1:]
        return int(decided.sum() - goes_on.sum())


@dataclass(frozen=True)
class BackgroundScores:
    """Windows of background on which false alarms are counted.

    Attributes:
        scores: From `alarm_scores`, shape (n, C); of calibrated probabilities if the model is.
        hours: Length of the recordings in hours.
    """

    scores: np.ndarray
    hours: float


@dataclass(frozen=True)
class FalseAlarms:
    """False alarms of one class, or of all together; means over the fits of a model.

    Attributes:
        alarms: Number of windows.
        events: Number of runs of consecutive windows.
        share: Fraction of the windows.
        per_hour: Windows per hour with its 95 % interval.
    """

    alarms: float
    events: float
    share: float
    per_hour: Estimate


def alarm_scores(probabilities: np.ndarray, task: Task) -> np.ndarray:
    """Return the probabilities that a threshold decides on.

    Args:
        probabilities: Shape (n, C).
        task: In `single-label`, only the most probable class of a window can be decided.

    Returns:
        Shape (n, C) float64; minus infinity where no threshold decides the class.
    """
    if task == "multi-label":
        return probabilities.astype(np.float64)
    found = np.full(probabilities.shape, -np.inf)
    rows = np.arange(len(probabilities))
    best = probabilities.argmax(axis=1)
    found[rows, best] = probabilities[rows, best]
    return found


def quiet_threshold(background: np.ndarray, most: float, scores: np.ndarray) -> float:
    """Return the lowest threshold that at most `most` windows of background reach.

    It lies halfway between the highest score that is too many and the next higher one, of background or of a clip.

    Args:
        background: Score of each window, shape (n,).
        most: Number of windows.
        scores: Scores of clips, shape (N,).

    Returns:
        The threshold: 0 if no window has to be rejected, above 1 if windows with probability 1 have to be.
    """
    ranked = np.sort(background)[::-1]
    allowed = int(most + 1e-9)  # 0.29 · 100 is 29
    if allowed >= len(ranked) or not np.isfinite(ranked[allowed]):
        return 0.0
    rejected = float(ranked[allowed])
    above = [float(part[part > rejected].min()) for part in (background, scores) if (part > rejected).any()]
    if not above and rejected >= 1:
        return float(np.nextafter(np.float32(1), np.float32(2)))  # probabilities are float32
    return (rejected + min([*above, 1.0])) / 2


def false_alarms(decided: Sequence[np.ndarray], recordings: Recordings) -> FalseAlarms:
    """Count the false alarms of some classes.

    Args:
        decided: Decisions of each fit of a model, shape (n, c) bool for c classes.
        recordings: The windows.
    """
    counts = [[recordings.alarms(own) for own in one.T] for one in decided]
    mean = np.sum(counts, axis=1).mean(axis=0)  # [G]
    return FalseAlarms(
        alarms=float(mean.sum()),
        events=float(np.mean([sum(recordings.events(own) for own in one.T) for one in decided])),
        share=float(np.mean([one.any(axis=1).mean() for one in decided])),
        per_hour=(float(mean.sum()) / recordings.total_hours, *rate_interval(mean, recordings.hours)),
    )


def rate_interval(counts: np.ndarray, hours: np.ndarray, *, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Compute the interval of a rate of events.

    With one recording it is the exact Poisson interval. With G > 1, the variance of the sum is estimated from the
    residuals of the recordings. Its ratio to the Poisson variance, times the squared ratio of Student's t with G - 1
    degrees of freedom to the normal, and at least 1, is the number of alarms that come together.

    Args:
        counts: Events in each recording, shape (G,); means over several fits need not be whole numbers.
        hours: Length of each recording, shape (G,), more than 0.
        level: Confidence level.

    Returns:
        Lower and upper end, per hour.
    """
    from scipy import special

    total, length, n = float(counts.sum()), float(hours.sum()), len(counts)
    together = 1.0
    if n > 1 and total > 0:
        squares = float(((counts - total / length * hours) ** 2).sum())
        widen = special.stdtrit(n - 1, (1 + level) / 2) / special.ndtri((1 + level) / 2)
        together = max(1.0, n / (n - 1) * squares / total * widen**2)
    independent = total / together
    low = special.gammaincinv(independent, (1 - level) / 2) if total > 0 else 0.0
    high = special.gammaincinv(independent + 1, (1 + level) / 2)
    return float(together * low / length), float(together * high / length)
