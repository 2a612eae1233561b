"""The splits of `leave-one-group-out`, stored as groups: arrays of rows are made when a split is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from features.errors import ManifestError
from heads.splits.absent import check_training, nothing_to_spare
from heads.splits.feasibility import AbsentClasses
from heads.splits.group_draws import count_classes, validation_groups
from heads.splits.split import Split
from heads.splits.targets import Targets, strata

TRAIN, VALID, TEST = 1, 2, 3  # sides of a row; 0: in none


class LeftOut(Sequence[Split]):
    """One split per test group. As arrays of rows, 1,000 groups of 100,000 clips would take 800 MB.

    Attributes:
        folds: Name of each split.
    """

    def __init__(
        self,
        folds: Sequence[int | str],
        tested: np.ndarray,
        groups: np.ndarray,
        validating: np.ndarray,
        n_groups: int,
        scored: Targets | None = None,
    ) -> None:
        """Keep what determines the splits.

        Args:
            folds: Name of each split.
            tested: Test group of each split, shape (S,).
            groups: Group of each row, shape (N,), 0…G-1; -1 for rows in no split.
            validating: Validation groups of each split, shape (S, ⌈G / 8⌉) uint8, packed bits.
            n_groups: G.
            scored: Targets, if validation rows of classes without training rows are left out; None: all stay.
        """
        self.folds = tuple(folds)
        self._tested, self._groups, self._validating, self._scored = tested, groups, validating, scored
        self._n_groups = n_groups
        self._absent = None if scored is None else self._absent_classes(scored)

    def __len__(self) -> int:
        """Number of splits."""
        return len(self.folds)

    @overload
    def __getitem__(self, at: int) -> Split: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Split, ...]: ...
    def __getitem__(self, at: int | slice) -> Split | tuple[Split, ...]:
        """Make one split, or several."""
        if isinstance(at, slice):
            return tuple(self[one] for one in range(*at.indices(len(self))))
        at = range(len(self))[at]
        side_of = np.where(self._valid_groups(at), VALID, TRAIN).astype(np.int8)
        side_of[self._tested[at]] = TEST
        sides = np.append(side_of, np.int8(0))[self._groups]  # row -1 is the last one
        valid = np.flatnonzero(sides == VALID)
        if self._absent is not None and self._scored is not None and self._absent[at].any():
            valid = valid[~_holds(self._scored, valid, self._absent[at])]
        return Split(self.folds[at], np.flatnonzero(sides == TRAIN), valid, np.flatnonzero(sides == TEST))

    @property
    def n_folds(self) -> int:
        """Number of test folds."""
        return len(set(map(str, self.folds)))

    @property
    def test_rows(self) -> np.ndarray:
        """The test rows of all splits, ascending."""
        return np.flatnonzero(np.isin(self._groups, self._tested))

    def without(self, rows: np.ndarray) -> LeftOut:
        """Return the splits without some rows. A split without remaining test rows is dropped."""
        groups = self._groups.copy()
        groups[rows] = -1
        kept = np.flatnonzero(np.isin(self._tested, groups))
        folds = [self.folds[at] for at in kept]
        return LeftOut(folds, self._tested[kept], groups, self._validating[kept], self._n_groups, self._scored)

    def scored(self, targets: Targets) -> LeftOut:
        """Return the splits without the validation rows of classes that have no training rows."""
        return LeftOut(self.folds, self._tested, self._groups, self._validating, self._n_groups, targets)

    def absent(self, targets: Targets) -> tuple[int, set[int]]:
        """Count the test rows of classes without training rows in their split, and return these classes."""
        lacking, members = self._absent_classes(targets), targets.members
        n_rows, classes = 0, set()
        for at in np.flatnonzero(lacking.any(axis=1)):
            held = members[self._groups == self._tested[at]] & lacking[at]
            n_rows += int(held.any(axis=1).sum())
            classes |= set(np.flatnonzero(held.any(axis=0)).tolist())
        return n_rows, classes

    def training_groups(self, at: int) -> np.ndarray:
        """Return the training groups of a split, shape (G,) bool."""
        training = ~self._valid_groups(at)
        training[self._tested[at]] = False
        return training

    def _valid_groups(self, at: int) -> np.ndarray:
        return np.unpackbits(self._validating[at], count=self._n_groups).astype(bool)

    def _absent_classes(self, targets: Targets) -> np.ndarray:
        """Return which classes have no training rows in each split, shape (S, C) bool."""
        kept = self._groups >= 0
        held = count_classes(self._groups[kept], targets.members[kept], self._n_groups)
        return np.stack([self.training_groups(at) @ held == 0 for at in range(len(self))])


def leave_one_out(
    name: str,
    folds: Sequence[int | str],
    tested: np.ndarray,
    groups: np.ndarray,
    targets: Targets,
    seeds: Sequence[int],
    absent_classes: AbsentClasses,
) -> LeftOut:
    """Draw validation groups for each test group, see `heads.splits.group_draws.validation_groups`.

    Args:
        name: Name of the data set, for messages.
        folds: Name of each test group, in the order of the splits.
        tested: The test groups in this order, shape (G,).
        groups: Group of each row, shape (N,), all of 0…G-1.
        targets: Targets of all rows.
        seeds: Seed of the division of many groups, then one per split.
        absent_classes: Whether classes may lack training rows.

    Raises:
        ManifestError: No validation rows can be drawn, or training rows lack a class or have only one value.
    """
    of_split = np.argsort(tested)
    members = targets.members
    own_seeds = [seeds[1 + at] for at in of_split]
    drawn = [np.packbits(one) for one in validation_groups(strata(targets), groups, members, own_seeds, seeds[0])]
    splits = LeftOut(folds, tested, groups, np.stack([drawn[group] for group in tested]), len(folds))
    held, sizes = count_classes(groups, members, len(folds)), np.bincount(groups)
    lowest, highest = _extremes(targets, groups, len(folds))
    for at, fold in enumerate(folds):
        training = splits.training_groups(at)
        if training.sum() == len(folds) - 1:
            raise ManifestError(nothing_to_spare(name, fold, int(sizes[training].sum())))
        n_held = (training @ held > 0).sum()
        enough = 2 if absent_classes == "score" and targets.task == "single-label" else held.shape[1]
        if absent_classes == "score" and targets.task == "multi-label":
            enough = 0
        constant = targets.task == "regression" and lowest[training].min() == highest[training].max()
        if n_held < enough or constant:
            check_training(name, fold, targets, splits[at].train, absent_classes)
    return splits


def _extremes(targets: Targets, groups: np.ndarray, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest value of each group in regression; nothing otherwise."""
    if targets.task != "regression":
        return np.empty(0), np.empty(0)
    lowest, highest = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
    np.minimum.at(lowest, groups, targets.values)
    np.maximum.at(highest, groups, targets.values)
    return lowest, highest


def _holds(targets: Targets, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return which rows have one of some classes, given as a mask (C,)."""
    if targets.task == "single-label":
        return np.asarray(classes[targets.values[rows]])
    if targets.task == "regression":
        return np.zeros(len(rows), dtype=bool)
    return np.asarray((targets.values[rows][:, classes] > 0).any(axis=1))
