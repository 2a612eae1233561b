"""All splits of one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import numpy as np

from heads.splits.absent import absent_text, without_training
from heads.splits.feasibility import AbsentClasses
from heads.splits.split import Split
from heads.splits.targets import Targets


class SplitSequence(Protocol):
    """Splits in order: `SplitTuple` holds them, `heads.splits.left_out.LeftOut` makes each when it is read.

    Attributes:
        n_folds: Number of test folds; repeated draws of a fold count once.
        test_rows: The test rows of all splits, ascending.
    """

    @property
    def n_folds(self) -> int: ...  # noqa: D102
    @property
    def test_rows(self) -> np.ndarray: ...  # noqa: D102

    def without(self, rows: np.ndarray) -> SplitSequence:
        """Return the splits without some rows. A split without remaining test rows is dropped."""

    def scored(self, targets: Targets) -> SplitSequence:
        """Return the splits without the validation rows of classes that have no training rows."""

    def absent(self, targets: Targets) -> tuple[int, set[int]]:
        """Count the test rows of classes without training rows in their split, and return these classes."""


class SplitTuple(tuple[Split, ...]):
    """Splits as arrays of rows, see `SplitSequence`."""

    __slots__ = ()

    @property
    def n_folds(self) -> int:
        """See `SplitSequence`."""
        return len({str(split.fold) for split in self})

    @property
    def test_rows(self) -> np.ndarray:
        """See `SplitSequence`."""
        return np.unique(np.concatenate([split.test for split in self]))

    def without(self, rows: np.ndarray) -> SplitTuple:
        """See `SplitSequence`."""

        def rest(kept: np.ndarray) -> np.ndarray:
            return kept[~np.isin(kept, rows)]

        splits = (replace(s, train=rest(s.train), valid=rest(s.valid), test=rest(s.test)) for s in self)
        return SplitTuple(split for split in splits if len(split.test))

    def scored(self, targets: Targets) -> SplitTuple:
        """See `SplitSequence`."""
        members = targets.members
        return SplitTuple(
            replace(split, valid=split.valid[~without_training(members, split.train)[split.valid]]) for split in self
        )

    def absent(self, targets: Targets) -> tuple[int, set[int]]:
        """See `SplitSequence`."""
        members, rows, classes = targets.members, [], set()
        for split in self:
            lacking = ~members[split.train].any(axis=0)
            rows.append(split.test[(members[split.test] & lacking).any(axis=1)])
            classes |= set(np.flatnonzero(members[split.test].any(axis=0) & lacking).tolist())
        return len(np.unique(np.concatenate(rows))), classes


@dataclass(frozen=True)
class Splits:
    """All divisions of one protocol.

    Attributes:
        protocol: The resolved protocol, never `auto`.
        splits: One `Split` per test fold, and per draw within it. Those of `leave-one-group-out` are made when they are
            read, see `heads.splits.left_out`.
        warnings: Warnings to show with the results, one sentence each, also about labels that look the same.
        absent_classes: Whether classes may lack training clips: `error` or `score`.
        n_absent: Test clips of a class without a training clip in their split, which count as errors.
    """

    protocol: str
    splits: Sequence[Split]
    warnings: tuple[str, ...]
    absent_classes: AbsentClasses = "error"
    n_absent: int = 0

    def __post_init__(self) -> None:
        """Accept a plain tuple of splits."""
        if type(self.splits) is tuple:
            object.__setattr__(self, "splits", SplitTuple(self.splits))

    @property
    def _sequence(self) -> SplitSequence:
        return cast(SplitSequence, self.splits)

    @property
    def n_folds(self) -> int:
        """Number of test folds; repeated draws of a fold count once."""
        return self._sequence.n_folds

    @property
    def test_rows(self) -> np.ndarray:
        """The test rows of all splits, ascending, each once."""
        return self._sequence.test_rows

    def without(self, rows: Sequence[int] | np.ndarray) -> Splits:
        """Return the splits without some rows (failed clips); the other positions do not change.

        A split without remaining test rows is dropped.
        """
        kept = self._sequence.without(np.asarray(rows, dtype=np.int64))
        return replace(self, splits=cast(Sequence[Split], kept))

    def scoring_absent(self, targets: Targets, name: str) -> Splits:
        """Return the splits without validation rows of classes without training rows, their test rows counted.

        Args:
            targets: Targets of all clips.
            name: Name of the data set, for the warning.
        """
        tested, absent = self._sequence.absent(targets)
        kept = replace(self, splits=cast(Sequence[Split], self._sequence.scored(targets)))
        if not tested:
            return kept
        warning = absent_text(name, targets, absent, tested, len(self.test_rows))
        return replace(kept, warnings=(*self.warnings, warning), n_absent=tested)
