"""How well probabilities are calibrated: expected calibration error, Brier score, log loss, reliability curve.

In `single-label` the calibration error and the curve are those of the most probable class: its probability against
the fraction of clips for which it is true. In `multi-label` every class of every clip counts as one decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heads.evaluation import metrics
from heads.evaluation.class_scores import Estimate, ratio_interval
from heads.evaluation.jackknife import NO_ERROR, skewed_ends
from heads.evaluation.predictions import Predictions
from heads.evaluation.statistics import ALPHA

BINS = 15  # as Guo et al. 2017
CURVE_BINS = 10  # of the reliability curve, as scikit-learn's `calibration_curve` is usually drawn


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of the reliability curve.

    Attributes:
        low: Lower end of the bin's probabilities.
        high: Upper end.
        count: Decisions in the bin, mean over repetitions.
        predicted: Mean probability.
        observed: Fraction that is true, with its 95 % interval clustered by group.
    """

    low: float
    high: float
    count: float
    predicted: float
    observed: Estimate


@dataclass(frozen=True)
class CalibrationFigures:
    """Calibration of one model's predictions; scores are means over repetitions.

    Attributes:
        ece: Expected calibration error in 15 bins of equal width (Naeini et al. 2015; Guo et al. 2017), 0…1.
        adaptive_ece: The same in 15 bins with equally many decisions (Nguyen and O'Connor 2015).
        brier: Brier score (1950). In `single-label` the squared errors are summed over classes, 0…2.
        log_loss: Mean negative log probability of the truth in nats, clipped at `metrics.CLIP`.
        reliability: Bins of the reliability curve that contain decisions.
    """

    ece: float
    adaptive_ece: float
    brier: Estimate
    log_loss: Estimate
    reliability: tuple[ReliabilityBin, ...]


def calibration_figures(predictions: Sequence[Predictions], groups: np.ndarray) -> CalibrationFigures:
    """Compute the calibration of one model.

    The calibration errors have no interval: they are positive even for a perfectly calibrated model, and the more so
    the fewer clips there are, so an interval around them would be misleading.

    Args:
        predictions: Predictions of one model for classes, all folds and repetitions.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
    """
    pooled = list(metrics.pool(predictions).values())
    numbers = np.unique(groups, return_inverse=True)[1]
    decisions = [decisions_of(one) for one in pooled]
    return CalibrationFigures(
        ece=float(np.mean([expected_error(*one, equal_width(one[0])) for one in decisions])),
        adaptive_ece=float(np.mean([expected_error(*one, equal_mass(one[0])) for one in decisions])),
        brier=_loss_interval([brier_of(one) for one in pooled], numbers),
        log_loss=_loss_interval([metrics.log_loss_of(one) for one in pooled], numbers),
        reliability=_reliability(decisions, numbers),
    )


def decisions_of(one: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each decision and whether it is true.

    Returns:
        Shape (n, 1) in `single-label`, (n, C) in `multi-label`.
    """
    if one.task == "multi-label":
        return one.scores.astype(np.float64), one.targets > 0
    return one.scores.max(axis=1, keepdims=True).astype(np.float64), (one.predicted == one.targets)[:, None]


def equal_width(probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the number of each probability's bin among bins of equal width, as an array of the same shape."""
    return np.minimum((probabilities * bins).astype(np.int64), bins - 1)


def equal_mass(probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the number of each probability's bin among bins with equally many; equal probabilities share one."""
    flat = probabilities.reshape(-1)
    first = np.searchsorted(np.sort(flat), flat, side="left")
    return (first * bins // len(flat)).reshape(probabilities.shape)


def expected_error(probabilities: np.ndarray, truth: np.ndarray, bins: np.ndarray) -> float:
    """Return the mean over decisions of |mean probability - fraction true| of their bin."""
    surplus = np.bincount(bins.reshape(-1), weights=(probabilities - truth).reshape(-1))
    return float(np.abs(surplus).sum() / probabilities.size)


def brier_of(one: Predictions) -> np.ndarray:
    """Return the Brier score of each clip, shape (n,): summed over classes in `single-label`, else their mean."""
    if one.task == "multi-label":
        return ((one.scores.astype(np.float64) - one.targets) ** 2).mean(axis=1)
    squares = (one.scores.astype(np.float64) ** 2).sum(axis=1)
    return squares - 2 * one.probability_of(one.targets).astype(np.float64) + 1


def mean_interval(values: np.ndarray, groups: np.ndarray) -> Estimate:
    """Compute a mean over clips and its 95 % interval: Student's t with the cluster-robust standard error.

    The ends follow the skewness of the groups' sums, see `skewed_ends`. Without this, the interval of a Brier score
    covered as little as 88 %.

    Args:
        values: A score of each clip, shape (n,).
        groups: Number of each clip's group, 0, 1, …, shape (n,).

    Returns:
        The mean and its ends; infinite ends if there are fewer than three groups.
    """
    from scipy import stats

    mean, n_groups = float(values.mean()), int(groups.max()) + 1
    if n_groups < 3:
        return mean, -np.inf, np.inf
    residuals = np.bincount(groups, weights=values - mean)
    error = np.sqrt(n_groups / (n_groups - 1) * (residuals**2).sum()) / len(values)
    if error < NO_ERROR:
        return mean, mean, mean
    t = float(stats.t.ppf(1 - ALPHA / 2, n_groups - 1))
    below, above = skewed_ends(t, float(stats.skew(residuals, bias=False)), n_groups)
    return mean, mean - below * float(error), mean + above * float(error)


def _loss_interval(losses: Sequence[np.ndarray], groups: np.ndarray) -> Estimate:
    """Return the mean of the repetitions' losses with an interval that, like a loss, is never negative."""
    mean, low, high = mean_interval(np.mean(losses, axis=0), groups)
    return mean, max(low, 0.0) if np.isfinite(low) else low, high


def _reliability(decisions: Sequence[tuple[np.ndarray, np.ndarray]], groups: np.ndarray) -> tuple[ReliabilityBin, ...]:
    """Return the bins of the curve that contain decisions."""
    found = []
    bins = [equal_width(probabilities, CURVE_BINS) for probabilities, _ in decisions]
    for number in range(CURVE_BINS):
        inside = [one == number for one in bins]
        weights = np.stack([one.sum(axis=1) for one in inside]).astype(float)
        hits = np.stack([(one & truth).sum(axis=1) for one, (_, truth) in zip(inside, decisions, strict=True)])
        observed = ratio_interval(hits.astype(float), weights, groups)
        if observed is None:
            continue
        total = sum(float(probabilities[one].sum()) for one, (probabilities, _) in zip(inside, decisions, strict=True))
        found.append(
            ReliabilityBin(
                low=number / CURVE_BINS,
                high=(number + 1) / CURVE_BINS,
                count=float(weights.sum() / len(decisions)),
                predicted=total / float(weights.sum()),
                observed=observed,
            )
        )
    return tuple(found)
