"""Which clips of which class each model takes for what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline.report.analysis.outcomes import Outcomes

DECISIONS = ("found", "missed", "false alarm")


@dataclass(frozen=True)
class Confusions:
    """A matrix of clips.

    Attributes:
        counts: Clips of each cell, shape (rows, columns): rows are true classes, columns predicted ones (of
            `multi-label` data `DECISIONS`). Means over repetitions: a clip that one of three seeds puts in
            a cell counts a third there, so a row of classes adds up to the clips of its class.
        totals: Clips of each true class, shape (rows,).
        wrong: Which cells are mistakes, shape (rows, columns).
        clips: By (row, column) of every cell that is not 0, its clips as positions in the page: first those most
            repetitions put there, of these the most probable.
    """

    counts: np.ndarray
    totals: np.ndarray
    wrong: np.ndarray
    clips: dict[tuple[int, int], list[int]]

    @property
    def shares(self) -> np.ndarray:
        """Cells as shares of the clips of their class; 0 where there are none."""
        return np.divide(
            self.counts, self.totals[:, None], out=np.zeros_like(self.counts), where=self.totals[:, None] > 0
        )


def confusions(model: Outcomes) -> Confusions:
    """True against predicted classes of one `single-label` model, (C, C)."""
    n_classes = model.probabilities.shape[2]
    said = np.eye(n_classes)[model.predicted].mean(axis=0)  # (N, C) share of repetitions
    sure = model.probabilities.mean(axis=0)
    clip, column = np.nonzero(said)
    counts, clips = _collect(
        (n_classes, n_classes), clip, model.targets[clip], column, said[clip, column], sure[clip, column]
    )
    return Confusions(counts, np.bincount(model.targets, minlength=n_classes), ~np.eye(n_classes, dtype=bool), clips)


def decisions(model: Outcomes) -> Confusions:
    """Of each class of one `multi-label` model, the clips found, missed and falsely said to have it, (C, 3)."""
    n_classes = model.probabilities.shape[2]
    said, sure = model.predicted.mean(axis=0), model.probabilities.mean(axis=0)  # (N, C)
    there = model.targets.astype(bool)
    shares = (np.where(there, said, 0.0), np.where(there, 1 - said, 0.0), np.where(there, 0.0, said))
    certain = (sure, 1 - sure, sure)
    cells = [np.nonzero(share) for share in shares]
    counts, clips = _collect(
        (n_classes, len(DECISIONS)),
        np.concatenate([clip for clip, _ in cells]),
        np.concatenate([row for _, row in cells]),
        np.concatenate([np.full(len(clip), number) for number, (clip, _) in enumerate(cells)]),
        np.concatenate([share[cell] for share, cell in zip(shares, cells, strict=True)]),
        np.concatenate([own[cell] for own, cell in zip(certain, cells, strict=True)]),
    )
    return Confusions(counts, there.sum(axis=0), np.tile([False, True, True], (n_classes, 1)), clips)


def largest(found: Confusions, most: int = 30) -> list[tuple[int, int]]:
    """The mistakes with the most clips, as (row, column); of equals, the larger share of its class first."""
    counts, shares = np.where(found.wrong, found.counts, 0.0), found.shares
    row, column = np.nonzero(counts)
    order = np.lexsort((column, row, -shares[row, column], -counts[row, column].round(9)))[:most]
    return [(int(row[at]), int(column[at])) for at in order]


def hardest_first(found: Confusions) -> list[int]:
    """Classes by the share of their clips classified right, lowest first; untested classes last."""
    right = np.where(found.wrong, 0.0, found.shares).sum(axis=1)
    return [int(at) for at in np.argsort(np.where(found.totals > 0, right, np.inf), kind="stable")]


def alike_together(found: Confusions) -> list[int]:
    """Classes of a square matrix in an order that puts those confused with each other side by side.

    The leaves of an average-linkage tree over 1 minus the mean of both classes' shares confused with the
    other, turned so that neighbours are as alike as can be (optimal leaf ordering, Bar-Joseph et al. 2001).
    """
    shares = found.shares
    if len(shares) < 3:
        return list(range(len(shares)))
    condensed = (1 - (shares + shares.T) / 2)[np.triu_indices(len(shares), k=1)]
    return [int(at) for at in leaves_list(linkage(condensed, method="average", optimal_ordering=True))]


def _collect(
    shape: tuple[int, int],
    clip: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    share: np.ndarray,
    sure: np.ndarray,
) -> tuple[np.ndarray, dict[tuple[int, int], list[int]]]:
    """Counts and clips of (clip, row, column) triples, each counting its share."""
    counts = np.zeros(shape)
    np.add.at(counts, (row, column), share)
    cells: dict[tuple[int, int], list[int]] = {}
    for at in np.lexsort((clip, -sure, -share)):
        cells.setdefault((int(row[at]), int(column[at])), []).append(int(clip[at]))
    return counts, cells
