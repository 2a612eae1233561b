"""Splits that are trained without one class and tested on all: how a model meets sounds that it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np

from heads.splits.split import Split
from heads.splits.targets import Targets


class WithoutClass(Sequence[Split]):
    """Splits without the training and validation rows of one class; each is made when it is read."""

    def __init__(self, splits: Sequence[Split], classes: np.ndarray, held_out: int) -> None:
        """Keep the splits.

        Args:
            splits: The splits to take rows from.
            classes: Class of each row, shape (N,) int.
            held_out: The class to leave out.
        """
        self._splits, self._is_held_out = splits, classes == held_out

    def __len__(self) -> int:
        """Number of splits."""
        return len(self._splits)

    @overload
    def __getitem__(self, at: int) -> Split: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Split]: ...

    def __getitem__(self, at: int | slice) -> Split | Sequence[Split]:
        """Return one split or several."""
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        split = self._splits[at]
        return replace(split, train=self._known(split.train), valid=self._known(split.valid))

    def _known(self, rows: np.ndarray) -> np.ndarray:
        return rows[~self._is_held_out[rows]]


def targets_without(targets: Targets, held_out: int) -> Targets:
    """Return the targets of the other classes, numbered without gaps.

    Rows of the class that is left out get the number of another class, so they must not be trained or scored.

    Args:
        targets: Targets of a `single-label` task.
        held_out: The class to leave out.
    """
    values = targets.values - (targets.values > held_out)
    values[targets.values == held_out] = 0
    return Targets(targets.task, values, (*targets.names[:held_out], *targets.names[held_out + 1 :]))
