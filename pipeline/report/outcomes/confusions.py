"""Confusion matrices as lists of the cells that are not 0, with the clips of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage

from heads.evaluation.predictions import Predictions
from pipeline.report.outcomes.outcomes import Outcomes

DECISIONS = ("found", "missed", "false alarm")
MOST_LISTED = 1000  # clips of a cell of decisions
MOST_ORDERED = 2000  # classes whose similarities fit into memory several times over
BEST_ORDERED = 100  # classes whose best order is found within a second


@dataclass(frozen=True)
class Confusions:
    """The K cells of a confusion matrix that are not 0, sorted by row and column, with their clips.

    Attributes:
        rows: True class of each cell, shape (K,).
        columns: Predicted class of each cell, or the position in `DECISIONS` for `multi-label` data, shape (K,).
        counts: Number of clips in each cell, shape (K,). Counts are means over repetitions: a clip in a cell in one
            of three seeds counts a third there. A row of classes adds up to the clips of its class.
        totals: Clips of each true class, shape (C,).
        clips: Clips of all cells, cell by cell, as positions in the page. Clips of a cell are sorted by the number of
            repetitions, then by probability.
        starts: Where each cell starts in `clips`, and the number of all, shape (K + 1,).
        is_square: Whether columns are classes.
    """

    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    clips: np.ndarray
    starts: np.ndarray
    is_square: bool

    def __len__(self) -> int:
        """Return the number of cells, K."""
        return len(self.rows)

    @property
    def wrong(self) -> np.ndarray:
        """Whether a cell is an error, shape (K,)."""
        return self.rows != self.columns if self.is_square else self.columns > 0

    @property
    def shares(self) -> np.ndarray:
        """Cells as fractions of the clips of their class, shape (K,); 0 for classes without clips."""
        totals = self.totals[self.rows]
        return np.divide(self.counts, totals, out=np.zeros(len(self)), where=totals > 0)

    def clips_of(self, cell: int, most: int | None = None) -> list[int]:
        """Return the first clips of a cell."""
        return self.clips[self.starts[cell] : self.starts[cell + 1]][:most].tolist()

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Return values of the cells as a matrix, shape (C, C) or (C, 3); 0 in all other cells."""
        found = np.zeros((len(self.totals), len(self.totals) if self.is_square else len(DECISIONS)))
        found[self.rows, self.columns] = values
        return found


def confusions(model: Outcomes) -> Confusions:
    """Return true against predicted classes of one `single-label` model."""
    assert model.support is not None
    predicted, targets = model.predicted(), model.targets()
    n_clips, n_classes = model.n_clips, model.n_classes
    repeated = np.arange(n_clips) * n_classes + predicted  # (R, N): clip and predicted class
    entries, first, times = np.unique(repeated, return_index=True, return_counts=True)
    clip, column = np.divmod(entries, n_classes)
    row, share = targets[clip].astype(np.int64), times / model.n_repetitions
    # Cell by cell; within a cell by repetitions, probability and clip.
    order = np.lexsort((clip, -model.support.reshape(-1)[first], -share, column, row))
    row, column, share = row[order], column[order], share[order]
    starts = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(column, prepend=-1) != 0))
    return Confusions(
        row[starts],
        column[starts],
        np.add.reduceat(share, starts),
        np.bincount(targets, minlength=n_classes),
        clip[order].astype(np.int32),
        np.append(starts, len(row)),
        is_square=True,
    )


def decisions(pooled: Sequence[Predictions], order: np.ndarray) -> Confusions:
    """Return the clips found, missed and falsely reported for each class of one `multi-label` model.

    Args:
        pooled: The predictions of each repetition, from `heads.evaluation.metrics.pool`.
        order: The place of each clip of the page in `pooled`, shape (N,).

    Returns:
        At most `MOST_LISTED` clips of each cell are listed; all are counted.
    """
    n_classes = pooled[0].probabilities.shape[1]
    present = pooled[0].targets[order] > 0
    predicted, probability = np.zeros(present.shape, np.float32), np.zeros(present.shape, np.float32)
    for one in pooled:
        predicted += one.predicted[order] / np.float32(len(pooled))
        probability += one.scores[order] / np.float32(len(pooled))
    counts, listed = np.zeros((n_classes, len(DECISIONS))), []
    for own in range(n_classes):
        has, says, sure = present[:, own], predicted[:, own].astype(np.float64), probability[:, own]
        shares = (np.where(has, says, 0.0), np.where(has, 1 - says, 0.0), np.where(has, 0.0, says))
        for column, (share, certain) in enumerate(zip(shares, (sure, 1 - sure, sure), strict=True)):
            clips = np.flatnonzero(share)
            counts[own, column] = share[clips].sum()
            if len(clips):
                listed.append(clips[np.lexsort((clips, -certain[clips], -share[clips]))][:MOST_LISTED])
    rows, columns = np.nonzero(counts)
    return Confusions(
        rows,
        columns,
        counts[rows, columns],
        present.sum(axis=0),
        np.concatenate([np.empty(0, np.int32), *listed]).astype(np.int32),
        np.cumsum([0, *map(len, listed)]),
        is_square=False,
    )


def largest(found: Confusions, most: int | None = 30) -> np.ndarray:
    """Return the errors with the most clips, as positions of cells, sorted by clips, then by fraction of the class."""
    cells = np.flatnonzero(found.wrong)
    order = np.lexsort((cells, -found.shares[cells], -found.counts[cells].round(9)))
    return cells[order[:most]]


def hardest_first(found: Confusions) -> list[int]:
    """Return classes sorted by the fraction of clips classified correctly, lowest first; untested classes last."""
    right = np.bincount(found.rows, np.where(found.wrong, 0.0, found.shares), minlength=len(found.totals))
    return [int(at) for at in np.argsort(np.where(found.totals > 0, right, np.inf), kind="stable")]


def alike_together(found: Confusions) -> list[int]:
    """Return the classes of a square matrix in an order that places confused classes next to each other.

    The order is that of the leaves of an average-linkage tree. The distance of two classes is 1 minus the mean of the
    fractions of each that are confused with the other. Up to `BEST_ORDERED` classes, leaves are ordered so that
    neighbours are as similar as possible (optimal leaf ordering, Bar-Joseph et al. 2001). More than `MOST_ORDERED`
    classes stay in the order of their names.
    """
    n_classes = len(found.totals)
    if n_classes < 3 or n_classes > MOST_ORDERED:
        return list(range(n_classes))
    shares = found.matrix(found.shares)
    condensed = (1 - (shares + shares.T) / 2)[np.triu_indices(n_classes, k=1)]
    tree = linkage(condensed, method="average", optimal_ordering=n_classes <= BEST_ORDERED)
    return [int(at) for at in leaves_list(tree)]
