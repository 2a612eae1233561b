"""Confidence intervals of mAP, macro F1 and CCC from a jackknife over groups. `benchmarks/coverage/` measures them.

The score is computed again without each group (with more than 100 groups: without each of 100 random blocks of groups,
Kott 2001). This gives its standard error and its bias (Quenouille 1956; Efron and Stein 1981). The bias matters for
few groups: a mAP of few clips is on average higher than that of many. Each interval holds both for the score of a very
large test set and for the mean score of test sets of this size. Its lower end therefore starts from the score or the
score without its bias, whichever is lower. Its upper end starts from the higher one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from heads.evaluation.statistics import ALPHA, wilson

if TYPE_CHECKING:
    from scipy import sparse

BLOCKS = 100  # groups are left out in at most this many blocks
NO_ERROR = 1e-9  # a smaller standard error means that all replicates are equal


@dataclass(frozen=True)
class Replicates:
    """A score, and the score without each block of groups.

    Attributes:
        value: The score.
        without: The score without each block, shape (blocks,).
        freedom: Degrees of freedom of Student's t.
    """

    value: float
    without: np.ndarray
    freedom: float

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt((len(self.without) - 1) * np.var(self.without)))

    @property
    def bias(self) -> float:
        """The estimated bias of the score."""
        return float((len(self.without) - 1) * (self.without.mean() - self.value))

    @property
    def skewness(self) -> float:
        """The skewness of the blocks' influences on the score."""
        influences = self.without.mean() - self.without
        variance = float(np.mean(influences**2))
        return float(np.mean(influences**3)) / variance**1.5 if self.error > NO_ERROR else 0.0


def blocks_of(n_groups: int, seed: int = 0) -> np.ndarray:
    """Return the block of each group, shape (n_groups,): its own, or one of `BLOCKS` random ones."""
    if n_groups <= BLOCKS:
        return np.arange(n_groups)
    return np.random.default_rng(seed).permutation(n_groups) % BLOCKS


def block_weights(n_groups: int, seed: int = 0) -> np.ndarray:
    """Return the weight of each group without each block: 0 for its groups, otherwise 1. Shape (blocks, n_groups)."""
    blocks = blocks_of(n_groups, seed)
    return (np.arange(blocks.max() + 1)[:, None] != blocks).astype(np.float64)


def freedom_of(sizes: np.ndarray) -> float:
    """Return the degrees of freedom for groups of these sizes: their effective number (Kish 1965) minus 1."""
    effective = float(sizes.sum()) ** 2 / float((sizes.astype(np.float64) ** 2).sum())
    return max(1.0, min(len(sizes), BLOCKS, effective) - 1)


def worth_of(positives: np.ndarray | sparse.csr_array) -> float:
    """Return the number of observations that a perfect mean over classes counts as; 1 without positive clips.

    For C classes with P groups of positive clips each this is C · P; unequal groups count as Kish's effective number.

    Args:
        positives: Positive clips of each group and class, shape (groups, classes). Classes without any do not count.
    """
    totals, squares = positives.sum(axis=0), (positives**2).sum(axis=0)
    groups = totals[totals > 0] ** 2 / squares[totals > 0]
    return len(groups) ** 2 / float((1 / groups).sum()) if len(groups) else 1.0


def share_interval(replicates: Replicates, worth: float) -> tuple[float, float]:
    """Compute the 95 % interval of a mean over classes of a score in 0…1 (mAP, macro F1).

    It is Wilson's interval with Student's t for the effective sample size s(1 - s)/σ², for the score s and its
    jackknife standard error σ (Korn and Graubard 1998 do so for proportions). Near 0 and 1 the error is estimated from
    few errors of the model. Their effective number is k = s(1 - s)·min(s, 1 - s)/σ². For small k the interval is
    widened towards that of a perfect score of `worth` independent observations, by 1/(worth·(1 + k)²) in the inverse
    sample size. With k above 10 this changes little.

    Args:
        replicates: The score and its jackknife.
        worth: Number of observations that a perfect score counts as.
    """
    value, variance = replicates.value, replicates.error**2
    ratio = _normal_to_student(replicates.freedom)

    def ends(share: float) -> tuple[float, float]:
        spread = share * (1 - share)
        errors = spread * min(share, 1 - share) / variance if variance > NO_ERROR**2 else 0.0
        inverse = min(variance / spread, 1.0) if spread > 0 else 0.0
        return wilson(share, 1 / (inverse + ratio**2 / (worth * (1 + errors) ** 2)), replicates.freedom)

    corrected = float(np.clip(value - replicates.bias, 0.0, 1.0))
    return min(ends(min(value, corrected))[0], value), max(ends(max(value, corrected))[1], value)


@lru_cache
def _normal_to_student(freedom: float) -> float:
    """Return the ratio of the normal quantile to that of Student's t."""
    from scipy import stats

    return float(stats.norm.ppf(1 - ALPHA / 2) / stats.t.ppf(1 - ALPHA / 2, freedom))


def concordance_interval(replicates: Replicates, effective: float) -> tuple[float, float]:
    """Compute the 95 % interval of a CCC.

    On the scale of Fisher's z (Lin 1989) it is the score ± t standard errors. Student's t has one degree of freedom
    less than for a mean, as Lin divides by n - 2; otherwise the coverage was as low as 0.927 for 6 groups with shared
    errors. The ends follow the skewness of the influences of the groups, see `skewed_ends`. If all replicates are
    equal, the standard error is that of perfect concordance, 1/√(effective - 2).

    Args:
        replicates: The CCC and its jackknife, both on the scale of z.
        effective: Effective number of groups.
    """
    from scipy import stats

    middle, error, skewness = replicates.value, replicates.error, replicates.skewness
    if error < NO_ERROR:
        error, edge = 1 / np.sqrt(max(effective - 2, 1.0)), to_z(1 - 1 / (2 * effective))
        middle = float(np.clip(middle, -edge, edge))
    t = float(stats.t.ppf(1 - ALPHA / 2, max(1.0, replicates.freedom - 1)))
    below, above = skewed_ends(t, skewness, len(replicates.without))
    bias = replicates.bias
    low = min(middle, middle - bias) - below * error
    high = max(middle, middle - bias) + above * error
    return float(np.tanh(low)), float(np.tanh(high))


def skewed_ends(t: float, skewness: float, n_groups: int) -> tuple[float, float]:
    """Return how many standard errors the ends of an interval lie below and above the score.

    The end on the longer side is moved out by |skewness|·(1 + 2t²)/(6√G) (Johnson 1978; Hall 1992).

    Args:
        t: Quantile of Student's t.
        skewness: Skewness of the groups' influences on the score.
        n_groups: Number of groups, G.
    """
    tail = (1 + 2 * t**2) / (6 * np.sqrt(n_groups))
    return t + tail * max(0.0, -skewness), t + tail * max(0.0, skewness)


def to_z(concordance: np.ndarray | float) -> np.ndarray:
    """Return Fisher's z of correlations; ±1 become large finite values."""
    edge = 1 - 1e-12
    return np.arctanh(np.clip(concordance, -edge, edge))
