"""How sure a score is, and which models a test set can tell apart. `benchmarks/coverage.py` measures both.

One method each, for the expected accuracy of these fitted models on new groups (recordings, speakers):

- Interval: Wilson's (1927) for a share, with the number of clips replaced by the effective sample size
  that the cluster-robust variance implies (Kish 1965; Korn and Graubard 1998), at most the clips there
  are, and Student's t in place of the normal. It never has zero width and stays within 0…1.
- TieTest: paired bootstrap over groups of the difference in accuracy, two-sided, Holm-corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DRAWS = 10_000
ALPHA = 0.05
CACHED_CELLS = 2**23  # draws × groups up to which resampling weights are kept for the next call


@dataclass(frozen=True)
class TieTest:
    """One model beside the best of its data set.

    Attributes:
        difference: How much better the best is (in accuracy: 0…1).
        p_value: Two-sided, Holm-corrected over all pairs of the data set's models.
        tied: The test set cannot tell the two apart (p > 0.05).
        p_values: The same beside each other model, by name.
    """

    difference: float
    p_value: float
    tied: bool
    p_values: Mapping[str, float]


def accuracy_interval(scores: np.ndarray, groups: np.ndarray, *, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Interval for expected accuracy on new groups.

    The variance comes from the residuals summed over each group. Where most groups are all right, few
    of them carry it, so its degrees of freedom are fewer than groups - 1: three times Satterthwaite's
    estimate, a factor by simulation (1 covers too much at 99 %, groups - 1 too little at 96 %). Where
    every clip scores alike the variance says nothing and a group counts as one observation.

    Args:
        scores: Share of seeds that classified each clip right, 0…1, shape (n,).
        groups: What each clip belongs to, shape (n,).
        level: Of confidence.

    Returns:
        Low and high end; 0 and 1 where there is one group only.

    Raises:
        ValueError: No scores, a score beyond 0…1, or lengths that differ.
    """
    if not len(scores) == len(groups) > 0 or not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError(f"{len(scores)} scores for {len(groups)} clips' groups; each clip needs one, in 0…1")
    numbers = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(numbers)
    n, n_groups = len(scores), len(sizes)
    if n_groups < 2:
        return 0.0, 1.0
    share = float(np.mean(scores))
    residuals = np.bincount(numbers, weights=scores - share)
    squares, fourths = float((residuals**2).sum()), float((residuals**4).sum())
    variance = n_groups / (n_groups - 1) * squares / n**2
    if variance > 1e-12 / n:
        effective = min(share * (1 - share) / variance, n)
        spread = fourths - squares**2 / n_groups
        freedom = 6 * squares**2 / spread if spread > 1e-9 * fourths else np.inf
        freedom = float(np.clip(freedom, 1, n_groups - 1))
    else:
        effective, freedom = n**2 / float((sizes**2).sum()), n_groups - 1
    return wilson(share, effective, freedom, level=level)


def wilson(share: float, effective: float, freedom: float, *, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Wilson's interval for a share, with Student's t.

    Args:
        share: Observed, 0…1.
        effective: Independent observations it is worth.
        freedom: Degrees of freedom of t.
        level: Of confidence.
    """
    from scipy import stats

    t = float(stats.t.ppf((1 + level) / 2, freedom))
    middle = share + t**2 / (2 * effective)
    half = t * np.sqrt(share * (1 - share) / effective + t**2 / (4 * effective**2))
    low, high = (middle - half) / (1 + t**2 / effective), (middle + half) / (1 + t**2 / effective)
    return float(np.clip(low, 0.0, share)), float(np.clip(high, share, 1.0))


def tied_with_best(
    scores: Mapping[str, np.ndarray], groups: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, TieTest]:
    """Compare every model with the most accurate one on the same clips.

    Whole groups are drawn with replacement, the same for all models. A difference's p-value is the
    share of draws that stray from it as far as it is from zero, less one clip (Edwards' 1948 continuity
    correction of McNemar's test). Strays are widened by √(G / (G - 1)) and by Student's t over the
    normal, which matters for a handful of groups; where no draw strays so far, Student's t gives the
    p-value. The best model is picked by the data, so Holm's (1979) correction runs over all pairs of
    models: over the comparisons with the best alone, five equal models were told apart in 10 % of
    simulations.

    Args:
        scores: Of each model, as for `accuracy_interval`, all shape (n,), in the same order of clips.
        groups: What each clip belongs to, shape (n,).
        draws: Bootstrap draws.
        seed: Of the draws.

    Returns:
        Each model's comparison with the best; the best's own has difference 0, p 1.

    Raises:
        ValueError: No models, or lengths that differ.
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
    """Compare every model with the best on any figure that was bootstrapped with the same draws for all.

    Args:
        values: Of each model: the more, the better.
        resampled: The figure in each draw, shape (draws, K), columns in the order of `values`.
        n_groups: How many groups were drawn from.
        continuity: What a difference is lessened by, for figures that move in steps.

    Returns:
        As `tied_with_best`, which says how; everything is tied where there is one group.
    """
    found = np.array(list(values.values()), dtype=np.float64)
    p_values = np.ones((len(found), len(found)))
    one, other = np.triu_indices(len(found), k=1)
    if n_groups > 1 and len(one):
        raw = [
            _p_value(resampled[:, i] - resampled[:, j], found[i] - found[j], continuity, n_groups)
            for i, j in zip(one, other, strict=True)
        ]
        p_values[one, other] = p_values[other, one] = _holm(np.array(raw))
    best = int(found.argmax())
    return {
        name: TieTest(
            difference=float(found[best] - own),
            p_value=float(own_p[best]),
            tied=bool(own_p[best] > ALPHA),
            p_values={other: float(p) for other, p in zip(values, own_p, strict=True) if other != name},
        )
        for name, own, own_p in zip(values, found, p_values, strict=True)
    }


def _p_value(resampled: np.ndarray, difference: float, continuity: float, n_groups: int) -> float:
    """How often the resampled difference strays from `difference` as far as that is from zero, at least."""
    from scipy import stats

    distance = abs(difference) - continuity
    if distance <= 0:
        return 1.0
    strays = np.abs(resampled - difference) * np.sqrt(n_groups / (n_groups - 1))
    widen = stats.t.ppf(1 - ALPHA / 2, n_groups - 1) / stats.norm.ppf(1 - ALPHA / 2)
    share = (1 + np.sum(strays * widen >= distance - 1e-12)) / (1 + len(resampled))
    error = np.sqrt(np.mean(strays**2))
    tail = 2 * stats.t.sf(distance / error, n_groups - 1) if error > 0 else 0.0
    return float(min(share, tail) if share * (1 + len(resampled)) < 2 else share)


def _holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction, shape kept."""
    order = np.argsort(p_values)
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected


def resample(sums: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Column sums over groups drawn with replacement, shape (draws, columns), from sums per group (G, columns)."""
    return np.concatenate([weights @ sums for weights in group_weights(len(sums), draws, seed)])


def group_weights(n_groups: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group is drawn, with replacement: blocks of shape (some draws, n_groups), `draws` in all."""
    if n_groups * draws <= CACHED_CELLS:
        yield _weights(n_groups, draws, seed)
        return
    block = max(1, CACHED_CELLS // n_groups)
    for at in range(0, draws, block):
        yield _weights.__wrapped__(n_groups, min(block, draws - at), seed + at)


@lru_cache(maxsize=2)
def _weights(n_groups: int, draws: int, seed: int) -> np.ndarray:
    """One block of `group_weights`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws).astype(np.float64)
