"""Confidence intervals of accuracy, and significance tests between models. `benchmarks/coverage/` measures both.

Both are for the expected accuracy of the fitted models on new groups (recordings, speakers):

- Interval: Wilson's interval (1927) for a proportion, with two changes: the number of clips is replaced by the
  effective sample size implied by the cluster-robust variance (Kish 1965; Korn and Graubard 1998), at most the
  number of clips; Student's t replaces the normal. It never has zero width and stays within 0…1.
- TieTest: paired bootstrap over groups of the difference in accuracy, two-sided, Holm-corrected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from heads.evaluation.resampling import resample

DRAWS = 10_000
ALPHA = 0.05


@dataclass(frozen=True)
class TieTest:
    """One model compared with the best of its data set.

    Attributes:
        difference: Score of the best model minus that of this model (accuracy: 0…1).
        p_value: Two-sided p-value, Holm-corrected over all pairs of the data set's models.
        tied: The difference is not significant (p > 0.05).
        p_values: P-values of the comparisons with each other model, by name.
        differences: Score of this model minus that of each other model, with the ends of its 95 % interval, by name.
            Intervals are for one pair: they are not corrected for the number of pairs.
    """

    difference: float
    p_value: float
    tied: bool
    p_values: Mapping[str, float]
    differences: Mapping[str, tuple[float, float, float]]


def accuracy_interval(scores: np.ndarray, groups: np.ndarray, *, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Compute the interval of the expected accuracy on new groups.

    The variance is estimated from residuals summed over each group. If most groups are entirely correct, few
    groups determine the variance, so it has fewer degrees of freedom than groups - 1. Three times
    Satterthwaite's estimate is used; the factor comes from simulations (with 1 the coverage is too high at
    99 %, with groups - 1 too low at 96 %). If all clips have the same score, the variance is not informative,
    and a group counts as one observation.

    Args:
        scores: Fraction of seeds that classified each clip correctly, 0…1, shape (n,).
        groups: Group of each clip, shape (n,).
        level: Confidence level.

    Returns:
        Lower and upper end; 0 and 1 if there is only one group.

    Raises:
        ValueError: There are no scores, a score is outside 0…1, or the lengths differ.
    """
    if not len(scores) == len(groups) > 0 or not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError(f"{len(scores)} scores for {len(groups)} clips' groups; each clip needs one, in 0…1")
    numbers = np.unique(groups, return_inverse=True)[1]
    residuals = np.bincount(numbers, weights=scores - float(np.mean(scores)))
    alike = bool(np.all(scores == scores[0]))
    return cluster_interval(float(np.mean(scores)), residuals, np.bincount(numbers), alike=alike, level=level)


def cluster_interval(
    share: float, residuals: np.ndarray, sizes: np.ndarray, *, alike: bool, level: float = 1 - ALPHA
) -> tuple[float, float]:
    """Compute the interval of a weighted mean over clips from sums over groups, see `accuracy_interval`.

    Args:
        share: The mean, 0…1.
        residuals: Sum of weight times deviation from the mean over each group, shape (G,).
        sizes: Sum of the weights of each group, shape (G,). Their total is the number of clips that the mean counts as.
        alike: Whether all clips have the same score, so that a group counts as one observation.
        level: Confidence level.

    Returns:
        Lower and upper end; 0 and 1 if there is only one group.
    """
    n, n_groups = sizes.sum(), len(sizes)
    if n_groups < 2:
        return 0.0, 1.0
    squares, fourths = float((residuals**2).sum()), float((residuals**4).sum())
    variance = n_groups / (n_groups - 1) * squares / n**2
    if not alike:  # groups may still agree exactly, such as the majority row where every speaker says every word
        effective = min(share * (1 - share) / variance, n) if variance > 1e-12 / n else n
        spread = fourths - squares**2 / n_groups
        freedom = 6 * squares**2 / spread if spread > 1e-9 * fourths else np.inf
        freedom = float(np.clip(freedom, 1, n_groups - 1))
    else:
        effective, freedom = n**2 / float((sizes**2).sum()), n_groups - 1
    return wilson(share, effective, freedom, level=level)


def wilson(share: float, effective: float, freedom: float, *, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Compute Wilson's interval for a proportion, with Student's t.

    Args:
        share: Observed proportion, 0…1.
        effective: Effective number of independent observations.
        freedom: Degrees of freedom of t.
        level: Confidence level.

    Returns:
        Lower and upper end.
    """
    from scipy import special

    t = float(special.stdtrit(freedom, (1 + level) / 2))  # Student's t, faster than scipy.stats
    middle = share + t**2 / (2 * effective)
    half = t * np.sqrt(share * (1 - share) / effective + t**2 / (4 * effective**2))
    low, high = (middle - half) / (1 + t**2 / effective), (middle + half) / (1 + t**2 / effective)
    return float(np.clip(low, 0.0, share)), float(np.clip(high, share, 1.0))


def tied_with_best(
    scores: Mapping[str, np.ndarray], groups: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, TieTest]:
    """Compare every model with the most accurate one on the same clips.

    Whole groups are drawn with replacement, the same for all models. The p-value of a difference is the
    fraction of draws that deviate from it by at least its distance from zero, minus one clip (Edwards' 1948
    continuity correction of McNemar's test). Deviations are widened by √(G / (G - 1)) and by the ratio of
    Student's t to the normal, which matters for few groups. If no draw deviates that much, Student's t gives
    the p-value. Because the best model is chosen from the data, Holm's (1979) correction covers all pairs of
    models: when it covered only the comparisons with the best, five equal models were found significantly
    different in 10 % of simulations.

    Args:
        scores: Scores of each model, as for `accuracy_interval`, shape (n,), in the same order of clips.
        groups: Group of each clip, shape (n,).
        draws: Number of bootstrap draws.
        seed: Seed of the draws.

    Returns:
        Each model's comparison with the best; the best itself has difference 0 and p 1.

    Raises:
        ValueError: There are no models, or the lengths differ.
    """
    if not scores or any(len(score) != len(groups) for score in scores.values()) or not len(groups):
        lengths = {name: len(score) for name, score in scores.items()}
        raise ValueError(f"models scored on {lengths} clips for {len(groups)} groups; all need the same clips")
    table = np.stack(list(scores.values()), axis=1).astype(np.float64)  # (n, K)
    numbers = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(numbers)
    sums = np.stack([np.bincount(numbers, weights=column) for column in table.T], axis=1)  # (G, K)
    accuracy = sums.sum(0) / sizes.sum()
    resampled = resample(np.column_stack([sums, sizes]), draws, seed)
    resampled = resampled[:, :-1] / resampled[:, -1:]  # (draws, K)
    return compare(dict(zip(scores, accuracy, strict=True)), resampled, len(sizes), continuity=1 / len(groups))


def compare(
    values: Mapping[str, float], resampled: np.ndarray, n_groups: int, *, continuity: float = 0.0
) -> dict[str, TieTest]:
    """Compare every model with the best on a score that was bootstrapped with the same draws for all models.

    Args:
        values: Score of each model; higher is better.
        resampled: The score in each draw, shape (draws, K), columns in the order of `values`.
        n_groups: Number of groups that were resampled.
        continuity: Continuity correction that is subtracted from a difference, for discrete scores.

    Returns:
        As `tied_with_best`, which describes the method; all models are tied if there is only one group.
    """
    found = np.array(list(values.values()), dtype=np.float64)
    p_values, widths = np.ones((len(found), len(found))), np.full((len(found), len(found)), np.inf)
    one, other = np.triu_indices(len(found), k=1)
    if n_groups > 1 and len(one):
        raw = []
        for i, j in zip(one, other, strict=True):
            strays = _strays(resampled[:, i] - resampled[:, j], found[i] - found[j], n_groups)
            raw.append(_p_value(strays, found[i] - found[j], continuity, n_groups))
            widths[i, j] = widths[j, i] = np.quantile(strays, 1 - ALPHA) * _widening(n_groups) + continuity
        p_values[one, other] = p_values[other, one] = _holm(np.array(raw))
    best = int(found.argmax())
    return {
        name: TieTest(
            difference=float(found[best] - own),
            p_value=float(own_p[best]),
            tied=bool(own_p[best] > ALPHA),
            p_values={other: float(p) for other, p in zip(values, own_p, strict=True) if other != name},
            differences={
                other: (float(own - its), float(own - its - width), float(own - its + width))
                for other, its, width in zip(values, found, own_widths, strict=True)
                if other != name
            },
        )
        for name, own, own_p, own_widths in zip(values, found, p_values, widths, strict=True)
    }


def _strays(resampled: np.ndarray, difference: float, n_groups: int) -> np.ndarray:
    """Return how far each bootstrap draw deviates from a difference, corrected for the number of groups."""
    deviations: np.ndarray = np.abs(resampled - difference) * np.sqrt(n_groups / (n_groups - 1))
    return deviations


@lru_cache
def _widening(n_groups: int) -> float:
    """Return the ratio of Student's t to the normal, which matters for few groups."""
    from scipy import stats

    return float(stats.t.ppf(1 - ALPHA / 2, n_groups - 1) / stats.norm.ppf(1 - ALPHA / 2))


def _p_value(strays: np.ndarray, difference: float, continuity: float, n_groups: int) -> float:
    """Return the p-value of one difference from the deviations of the draws, see `tied_with_best`."""
    from scipy import stats

    distance = abs(difference) - continuity
    if distance <= 0:
        return 1.0
    share = (1 + np.sum(strays * _widening(n_groups) >= distance - 1e-12)) / (1 + len(strays))
    error = np.sqrt(np.mean(strays**2))
    tail = 2 * stats.t.sf(distance / error, n_groups - 1) if error > 0 else 0.0
    return float(min(share, tail) if share * (1 + len(strays)) < 2 else share)


def _holm(p_values: np.ndarray) -> np.ndarray:
    """Apply Holm's step-down correction; the order is kept."""
    order = np.argsort(p_values)
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected
