"""Windows of background in the training and validation of heads: rows after those of the clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import overload

import numpy as np

from heads.splits.split import Split
from heads.splits.split_set import Splits
from heads.splits.targets import Targets
from pipeline.config.schema import BACKGROUND
from pipeline.stages.inputs import Inputs


def joined_ids(ids: np.ndarray, inputs: Inputs) -> np.ndarray:
    """Return the ids of clips, shape (N,), followed by those of the A added windows, shape (N + A,)."""
    if not len(inputs.added):
        return ids
    assert inputs.background is not None
    return np.append(ids, inputs.background.manifest.clips["id"].to_numpy(dtype=object)[inputs.added])


def joined_targets(targets: Targets, inputs: Inputs) -> np.ndarray:
    """Return the values of `targets`, followed by those of the added windows: their own class, or no class at all."""
    n_added = len(inputs.added)
    if not n_added:
        return targets.values
    if targets.task == "multi-label":
        return np.concatenate([targets.values, np.zeros((n_added, targets.n_outputs), targets.values.dtype)])
    return np.append(targets.values, np.full(n_added, targets.names.index(BACKGROUND)))


def joined_splits(splits: Splits, n_clips: int, inputs: Inputs) -> Splits:
    """Return splits with the added windows: those of `train` in every training set, those of `valid` in validation.

    A split without validation clips gets no windows for validation. Test rows do not change.

    Args:
        splits: Splits of the clips.
        n_clips: Number of clips, N.
        inputs: The cached data, with the windows.
    """
    if not len(inputs.added):
        return splits
    assert inputs.background is not None
    parts = inputs.background.parts[inputs.added]
    train, valid = (n_clips + np.flatnonzero(parts == part) for part in ("train", "valid"))
    return replace(splits, splits=_Joined(splits.splits, train, valid))


class _Joined(Sequence[Split]):
    """Splits with further rows, each made when it is read."""

    def __init__(self, splits: Sequence[Split], train: np.ndarray, valid: np.ndarray) -> None:
        """Add rows to all splits."""
        self._splits, self._train, self._valid = splits, train, valid

    def __len__(self) -> int:
        """Number of splits."""
        return len(self._splits)

    @overload
    def __getitem__(self, at: int) -> Split: ...
    @overload
    def __getitem__(self, at: slice) -> list[Split]: ...
    def __getitem__(self, at: int | slice) -> Split | list[Split]:
        """Return one split, or some."""
        if isinstance(at, slice):
            return [self._with(split) for split in self._splits[at]]
        return self._with(self._splits[at])

    def __iter__(self) -> Iterator[Split]:
        """Make each split in turn."""
        return map(self._with, self._splits)

    def _with(self, split: Split) -> Split:
        valid = np.append(split.valid, self._valid) if len(split.valid) else split.valid
        return replace(split, train=np.append(split.train, self._train), valid=valid)
