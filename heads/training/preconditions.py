"""Checks of options, features and splits before training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.errors import ConfigError, RunError
from features.labels import Task
from heads.batched.vectors import FiniteVectors, Vectors, check_finite, in_memory
from heads.options import HeadOptions
from heads.splits.protocol import Split


def check_choice(options: HeadOptions, splits: Sequence[Split], n_layers: int) -> None:
    """Check that a head with a grid or several layers has validation rows to choose by.

    Raises:
        ConfigError: A split has no validation rows, but the head has a grid or several layers.
    """
    without = [split for split in splits if not len(split.valid)]
    if not without:
        return
    points = options.configurations()
    several = [name for name in points[0] if len({str(point[name]) for point in points}) > 1]
    if several:
        raise ConfigError(
            f"{options.title}: fold {without[0].fold!r} has no validation clips to choose {several[0]} by; "
            f"give it one value"
        )
    if n_layers > 1:
        raise ConfigError(
            f"{options.title}: fold {without[0].fold!r} has no validation clips to choose one of {n_layers} layers by; "
            "set `layers: last`, or one layer such as `layers: [6]`"
        )


def check_rows(
    features: Vectors,
    targets: np.ndarray,
    splits: Sequence[Split],
    n_classes: int,
    task: Task,
    *,
    may_lack_classes: bool = False,
) -> Vectors:
    """Check features and splits; features on disk are checked layer by layer, when they are first read.

    Args:
        features: Vectors of all clips, (N, L, D).
        targets: Classes (N,), zeros and ones (N, C), or values (N,).
        splits: The splits.
        n_classes: C.
        task: The task, which determines the form of the targets.
        may_lack_classes: Whether a class may have no training clip.

    Returns:
        The features to train from.

    Raises:
        ValueError: The shapes of features and targets do not match.
        RunError: Features are NaN or infinite; a split has no training or test rows; a class has no training
            clip; all training values are equal. Reading the returned features raises it, too.
    """
    if len(features) != len(targets):
        raise ValueError(
            f"features of shape {features.shape} for {len(targets)} targets; they should be (N, L, D) and (N,)"
        )
    check_splits(targets, splits, n_classes, task, may_lack_classes=may_lack_classes)
    in_use = np.zeros(len(features), dtype=bool)
    for split in splits:
        for rows in (split.train, split.valid, split.test):
            in_use[rows] = True
    used = np.flatnonzero(in_use)
    if not in_memory(features):
        return FiniteVectors(features, used)
    check_finite(features, used, range(features.shape[1]))
    return features


def check_splits(
    targets: np.ndarray, splits: Sequence[Split], n_classes: int, task: Task, *, may_lack_classes: bool = False
) -> None:
    """Check splits.

    Raises:
        RunError: A split has no training or test rows; a class has no training clip; all training values are
            equal.
    """
    if not splits:
        raise RunError("no fold has test clips left")
    for split in splits:
        for side in ("train", "test"):
            if not len(getattr(split, side)):
                raise RunError(f"fold {split.fold!r} has no {side} clips left")
        answers = targets[split.train]
        if task == "regression":
            if answers.min() == answers.max():
                raise RunError(f"fold {split.fold!r}: every training clip has the value {answers[0]}")
            continue
        held = answers.sum(axis=0) if task == "multi-label" else np.bincount(answers, minlength=n_classes)
        absent = np.flatnonzero(held == 0)
        if len(absent) and not may_lack_classes:
            raise RunError(f"fold {split.fold!r} has no training clip of class {absent[0]} (of {n_classes})")
