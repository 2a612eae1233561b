"""Average precision of one class for many weightings of the clips, from a single ranking of the clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

CELLS = 2**20  # steps × draws at a time


@dataclass(frozen=True)
class RankedClips:
    """Clips by falling probability of one class, cut into steps.

    Precision counts at positive clips only, and clips of equal probability count together. So a step ends at the last
    clip with the probability of some positive clip. Clips below all positive ones are left out.

    Attributes:
        clips: The clips, most probable first, shape (n,) int.
        starts: Where each step starts in `clips`, and n, shape (S + 1,) int.
        positives: The positive clips in the same order, shape (P,) int.
        positive_starts: Where each step starts in `positives`, and P, shape (S + 1,) int.
    """

    clips: np.ndarray
    starts: np.ndarray
    positives: np.ndarray
    positive_starts: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, truth: np.ndarray) -> RankedClips:
        """Rank clips.

        Args:
            scores: Probability of each clip, shape (N,).
            truth: Whether each clip has the class, shape (N,) bool; some clip has.
        """
        falling = -scores
        order = np.argsort(falling)
        falling = falling[order]
        at = np.flatnonzero(truth[order])
        stops, first = np.unique(np.searchsorted(falling, falling[at], side="right"), return_index=True)
        return cls(order[: stops[-1]], np.append(0, stops), order[at], np.append(first, len(at)))

    def weighted(self, numbers: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Compute the average precision for many weightings of groups of clips, as scikit-learn defines it.

        Args:
            numbers: Number of each clip's group, 0, 1, …, shape (N,).
            weights: Weight of each group in each draw, shape (groups, draws) float32, whole numbers.

        Returns:
            Shape (draws,); nan if no positive clip has weight.
        """
        ranked = _membership(numbers[self.clips], self.starts, len(weights))
        positive = _membership(numbers[self.positives], self.positive_starts, len(weights))
        some = max(1, CELLS // (len(self.starts) - 1))
        parts = [
            _precision(ranked @ part, positive @ part)
            for part in (weights[:, at : at + some] for at in range(0, weights.shape[1], some))
        ]
        return np.concatenate(parts)

    def without(self, blocks: np.ndarray, n_blocks: int) -> np.ndarray:
        """Compute the average precision without each block of clips.

        Args:
            blocks: Block of each clip, 0, 1, …, shape (N,).
            n_blocks: Number of blocks.

        Returns:
            Shape (n_blocks,); nan if all positive clips are in the block.
        """
        above, gained = (
            _outside(blocks[clips], np.diff(starts), n_blocks)
            for clips, starts in ((self.clips, self.starts), (self.positives, self.positive_starts))
        )
        return _precision(above, gained)


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Compute the average precision of one class, with the bits of scikit-learn's `average_precision_score`.

    Args:
        scores: Probability of each clip, shape (N,).
        truth: Whether each clip has the class, shape (N,) bool; some clip has.
    """
    order = np.argsort(-scores)
    ranked = scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of clips with equal scores
    hits = np.cumsum(truth[order], dtype=np.float64)[last]
    precision, recall = hits / (last + 1.0), hits / hits[-1]
    return max(0.0, float(-np.sum(np.diff(np.append(recall[::-1], 0.0)) * precision[::-1])))


def _membership(groups: np.ndarray, starts: np.ndarray, n_groups: int) -> sparse.csr_array:
    """Return how many clips of each group each step has, shape (S, n_groups); repeated entries add up."""
    from scipy import sparse

    ones = np.ones(len(groups), dtype=np.float32)
    return sparse.csr_array((ones, groups, starts), shape=(len(starts) - 1, n_groups))


def _outside(blocks: np.ndarray, sizes: np.ndarray, n_blocks: int) -> np.ndarray:
    """Count the clips of each step that are not in each block, shape (S, n_blocks).

    Args:
        blocks: Block of each clip, clips in the order of the steps.
        sizes: Clips of each step, shape (S,).
        n_blocks: Number of blocks.
    """
    cells = np.repeat(np.arange(len(sizes)) * n_blocks, sizes) + blocks
    inside = np.bincount(cells, minlength=len(sizes) * n_blocks).reshape(-1, n_blocks)
    return sizes[:, None] - inside


def _precision(ranked: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """Compute average precision from the weight of the clips of each step, and of its positive clips.

    Args:
        ranked: Shape (S, weightings), whole numbers.
        gained: Shape (S, weightings), whole numbers.

    Returns:
        Shape (weightings,); nan without positive clips.
    """
    above, hits = (np.cumsum(own, axis=0, dtype=np.float64) for own in (ranked, gained))
    total = hits[-1].copy()
    hits *= gained
    hits /= np.maximum(above, 1, out=above)
    sums = np.ascontiguousarray(hits.T).sum(axis=1)  # the last bits of a sum depend on the layout
    return np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)
