"""Classes without training rows in a split: an error, or test clips that count as errors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from features.errors import ManifestError
from heads.splits.advice import class_sizes_advice, listed
from heads.splits.feasibility import AbsentClasses
from heads.splits.targets import Targets

LABELS_SHOWN = 5  # in a warning


def without_training(members: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return which rows have a class that no training row has, (N,) bool.

    Args:
        members: Classes of each row, (N, C) bool.
        train: Training rows, as positions or as a mask.
    """
    return np.asarray(members[:, ~members[train].any(axis=0)].any(axis=1))


def absent_text(name: str, targets: Targets, absent: Iterable[int], tested: int, total: int) -> str:
    """Return the warning that states how many test clips have a class without training clips.

    Args:
        name: Name of the data set.
        targets: Targets of all clips.
        absent: The classes that some split tests without training clips.
        tested: Number of such test clips.
        total: Number of all test clips.
    """
    names = [targets.names[number] for number in sorted(set(absent))]
    shown = ", ".join(map(repr, names[:LABELS_SHOWN])) + (", …" if len(names) > LABELS_SHOWN else "")
    return (
        f"{name}: {tested} of {total} test clips have a label without a training clip in their fold ({shown}) and "
        "count as errors (absent_classes: score)"
    )


def nothing_to_spare(name: str, fold: int | str, n_train: int) -> str:
    """Return the message of a split whose training clips cannot give any for validation."""
    return (
        f"{name}: no validation clips to spare among the {n_train} training clips of fold {fold!r} without losing a "
        "label or parting a group; mark some as `split: valid`"
    )


def check_training(
    name: str, fold: int | str, targets: Targets, train: np.ndarray, absent_classes: AbsentClasses
) -> None:
    """Check the training rows of a split.

    Raises:
        ManifestError: A class is missing (under `score`: all but one), or all values are equal.
    """
    held = targets.members[train].any(axis=0)
    if absent_classes == "score" and targets.task == "single-label":
        if held.sum() < 2:
            raise ManifestError(
                f"{name}: the training clips have {int(held.sum())} label(s) when fold {fold!r} is tested; "
                "a classifier needs two"
            )
        return
    absent = [targets.names[number] for number in np.flatnonzero(~held)] if absent_classes == "error" else []
    if absent:
        raise ManifestError(
            f"{name}: label {absent[0]!r} has no training clip when fold {fold!r} is tested{listed(absent)}; "
            f"{class_sizes_advice(absent)}"
        )
    if targets.task == "regression" and np.ptp(targets.values[train]) == 0:
        raise ManifestError(
            f"{name}: every training clip has the label {targets.values[train[0]]} when fold {fold!r} is tested; "
            "there is nothing to learn"
        )
