"""Confusion matrices, with the clips of every cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline.report.analysis.outcomes import Outcomes

DECISIONS = ("found", "missed", "false alarm")


@dataclass(frozen=True)
class Confusions:
    """A confusion matrix with the clips of its cells.

    Attributes:
        counts: Number of clips in each cell, shape (rows, columns). Rows are true classes, columns are predicted
            classes (`DECISIONS` for `multi-label` data). Counts are means over repetitions: a clip in a cell in one
            of three seeds counts a third there. A row of classes adds up to the clips of its class.
        totals: Clips of each true class, shape (rows,).
        wrong: Whether a cell is an error, shape (rows, columns).
        clips: By (row, column) of every cell that is not 0, its clips as positions in the page, sorted by the number
            of repetitions, then by probability.
    """

    counts: np.ndarray
    totals: np.ndarray
    wrong: np.ndarray
    clips: dict[tuple[int, int], list[int]]

    @property
    def shares(self) -> np.ndarray:
        """Cells as fractions of the clips of their class; 0 for classes without clips."""
        return np.divide(
            self.counts, self.totals[:, None], out=np.zeros_like(self.counts), where=self.totals[:, None] > 0
        )


def confusions(model: Outcomes) -> Confusions:
    """Return true against predicted classes of one `single-label` model, shape (C, C)."""
    n_classes = model.probabilities.shape[2]
    predicted = np.eye(n_classes)[model.predicted].mean(axis=0)  # (N, C) fraction of repetitions
    probability = model.probabilities.mean(axis=0)
    clip, column = np.nonzero(predicted)
    counts, clips = _collect(
        (n_classes, n_classes),
        clip,
        model.targets[clip],
        column,
        predicted[clip, column],
        probability[clip, column],
    )
    return Confusions(counts, np.bincount(model.targets, minlength=n_classes), ~np.eye(n_classes, dtype=bool), clips)


def decisions(model: Outcomes) -> Confusions:
    """Return the clips found, missed and falsely reported for each class of one `multi-label` model, shape (C, 3)."""
    n_classes = model.probabilities.shape[2]
    predicted, probability = model.predicted.mean(axis=0), model.probabilities.mean(axis=0)  # (N, C)
    present = model.targets.astype(bool)
    shares = (
        np.where(present, predicted, 0.0),
        np.where(present, 1 - predicted, 0.0),
        np.where(present, 0.0, predicted),
    )
    certain = (probability, 1 - probability, probability)
    cells = [np.nonzero(share) for share in shares]
    counts, clips = _collect(
        (n_classes, len(DECISIONS)),
        np.concatenate([clip for clip, _ in cells]),
        np.concatenate([row for _, row in cells]),
        np.concatenate([np.full(len(clip), number) for number, (clip, _) in enumerate(cells)]),
        np.concatenate([share[cell] for share, cell in zip(shares, cells, strict=True)]),
        np.concatenate([own[cell] for own, cell in zip(certain, cells, strict=True)]),
    )
    return Confusions(counts, present.sum(axis=0), np.tile([False, True, True], (n_classes, 1)), clips)


def largest(found: Confusions, most: int = 30) -> list[tuple[int, int]]:
    """Return the errors with the most clips as (row, column), sorted by clips, then by fraction of the class."""
    counts, shares = np.where(found.wrong, found.counts, 0.0), found.shares
    row, column = np.nonzero(counts)
    order = np.lexsort((column, row, -shares[row, column], -counts[row, column].round(9)))[:most]
    return [(int(row[at]), int(column[at])) for at in order]


def hardest_first(found: Confusions) -> list[int]:
    """Return classes sorted by the fraction of clips classified correctly, lowest first; untested classes last."""
    right = np.where(found.wrong, 0.0, found.shares).sum(axis=1)
    return [int(at) for at in np.argsort(np.where(found.totals > 0, right, np.inf), kind="stable")]


def alike_together(found: Confusions) -> list[int]:
    """Return the classes of a square matrix in an order that places confused classes next to each other.

    The order is that of the leaves of an average-linkage tree. The distance of two classes is 1 minus the mean of the
    fractions of each that are confused with the other. Leaves are ordered so that neighbours are as similar as
    possible (optimal leaf ordering, Bar-Joseph et al. 2001).
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
    probability: np.ndarray,
) -> tuple[np.ndarray, dict[tuple[int, int], list[int]]]:
    """Sum the shares of (clip, row, column) triples and list the clips of each cell."""
    counts = np.zeros(shape)
    np.add.at(counts, (row, column), share)
    cells: dict[tuple[int, int], list[int]] = {}
    for at in np.lexsort((clip, -probability, -share)):
        cells.setdefault((int(row[at]), int(column[at])), []).append(int(clip[at]))
    return counts, cells
