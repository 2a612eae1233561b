"""Classes without training clips in a split, which a model cannot know."""

from __future__ import annotations

import numpy as np

from features.labels import Task


def absent_classes(train: np.ndarray, n_classes: int, task: Task) -> np.ndarray:
    """Return the classes that no training clip has.

    Args:
        train: Targets of the training clips: classes (n,), or zeros and ones (n, C).
        n_classes: C.
        task: The task; in `regression` there are no classes.

    Returns:
        Class numbers, ascending int64.
    """
    if task == "regression":
        return np.empty(0, dtype=np.int64)
    held = train.sum(axis=0) if task == "multi-label" else np.bincount(train, minlength=n_classes)
    return np.flatnonzero(held == 0)


def never(probabilities: np.ndarray, absent: np.ndarray, task: Task) -> np.ndarray:
    """Give absent classes probability 0, and the others those they would have among themselves.

    Args:
        probabilities: Shape (N, C).
        absent: From `absent_classes`.
        task: The task. In `multi-label`, other probabilities do not change.

    Returns:
        Shape (N, C); the input itself if no class is absent.
    """
    if not len(absent):
        return probabilities
    masked = probabilities.copy()
    masked[:, absent] = 0
    if task == "multi-label":
        return masked
    total = masked.sum(axis=1, keepdims=True)
    known = np.ones(masked.shape[1], dtype=masked.dtype)
    known[absent] = 0
    return np.where(total > 0, masked / np.where(total > 0, total, 1), known / known.sum()).astype(probabilities.dtype)
