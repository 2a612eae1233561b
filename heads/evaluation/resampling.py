"""Bootstrap draws of whole groups (recordings, speakers), the same for all models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

CACHED_CELLS = 2**23  # resampling weights are cached up to this many draws × groups
CHUNK_CELLS = 2**18  # draws × groups at a time: half a MB of random bits
CAST_DRAWS = 64  # draws multiplied at a time in double precision


def resample(sums: np.ndarray | sparse.csr_array, draws: int, seed: int) -> np.ndarray:
    """Return column sums over resampled groups, shape (draws, columns), from sums per group (G, columns)."""
    parts = [np.empty((0, sums.shape[1]))]
    for counts in group_weights(sums.shape[0], draws, seed):
        for at in range(0, len(counts), CAST_DRAWS):
            parts.append(counts[at : at + CAST_DRAWS].astype(np.float64) @ sums)
    return np.concatenate(parts)


def group_weights(n_groups: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each group is drawn with replacement, in blocks of shape (some draws, n_groups), uint8."""
    if n_groups * draws <= CACHED_CELLS:
        yield _weights(n_groups, draws, seed)
        return
    block = max(1, CACHED_CELLS // n_groups)
    for at in range(0, draws, block):
        yield _weights.__wrapped__(n_groups, min(block, draws - at), seed + at)


@lru_cache(maxsize=2)
def _weights(n_groups: int, draws: int, seed: int) -> np.ndarray:
    """One block of `group_weights`.

    Independent Poisson counts with a given sum m are a draw of m groups with replacement. So most of a draw is made of
    Poisson counts, which need 16 random bits each, and the few groups missing to `n_groups` are drawn one by one.
    """
    rng = np.random.default_rng(seed)
    counts = np.zeros((draws, n_groups), dtype=np.uint8)
    cutoffs = _poisson_cutoffs(n_groups)
    some = max(1, CHUNK_CELLS // n_groups)
    for at in range(0, draws if len(cutoffs) else 0, some):
        part = counts[at : at + some]
        bits = rng.integers(0, 2**64, size=-(-part.size // 4), dtype=np.uint64).view(np.uint16)
        bits = bits[: part.size].reshape(part.shape)
        for cutoff in cutoffs:
            part += bits >= cutoff
    missing = n_groups - counts.sum(axis=1, dtype=np.int64)
    counts[missing < 0] = 0
    missing[missing < 0] = n_groups
    rest = np.repeat(np.arange(draws), missing) * n_groups
    rest += rng.integers(0, n_groups, size=len(rest))
    np.add.at(counts.reshape(-1), rest, np.uint8(1))
    return counts


def _poisson_cutoffs(n_groups: int) -> np.ndarray:
    """Return from which 16-bit numbers on a group counts once more; none if all groups are drawn one by one.

    The mean is below 1 by five standard deviations of the sum, so that sums above `n_groups` are rare (p < 1e-6).
    """
    from scipy import stats

    mean = 1 - 5 / np.sqrt(n_groups)
    if mean <= 0:
        return np.empty(0, dtype=np.uint16)
    cutoffs = np.round(stats.poisson.cdf(np.arange(20), mean) * 2**16)
    return cutoffs[cutoffs < 2**16].astype(np.uint16)
