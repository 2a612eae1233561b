"""Seeded, stratified draws that keep groups whole."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

PARTS = 5  # a drawn test or validation set is one part in five: 20 %


def draw_folds(labels: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Deal rows into folds of like size and like class shares; a group stays in one fold.

    Args:
        labels: Class of each row, shape (N,), integers.
        groups: Group of each row, shape (N,), integers.
        n_folds: How many folds, 2 or more, at most the rows of the largest class.
        seed: Of the draw.

    Returns:
        Fold 0…n_folds-1 of each row, shape (N,).
    """
    singletons = len(np.unique(groups)) == len(groups)
    splitter = (StratifiedKFold if singletons else StratifiedGroupKFold)(n_folds, shuffle=True, random_state=seed)
    folds = np.full(len(labels), -1, dtype=np.int64)
    with warnings.catch_warnings():
        # Said about classes with fewer rows than folds; callers check themselves that training keeps every class.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        splits = splitter.split(labels[:, None], labels, None if singletons else groups)
        for fold, (_, part) in enumerate(splits):
            folds[part] = fold
    return folds


def draw_part(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Draw about 20 % of the rows, stratified, groups whole, leaving every class in the rest.

    Args:
        labels: Class of each row, shape (N,), integers.
        groups: Group of each row, shape (N,), integers.
        seed: Of the draw.

    Returns:
        Mask of the drawn rows, shape (N,) bool; all False where nothing can be spared.
    """
    n_folds = min(PARTS, len(np.unique(groups)), int(np.bincount(labels).max(initial=0)))
    if n_folds < 2:
        return np.zeros(len(labels), dtype=bool)
    folds = draw_folds(labels, groups, n_folds, seed)
    pinned = np.isin(groups, _sole_carriers(labels, groups))
    parts = [(folds == fold) & ~pinned for fold in range(n_folds)]
    classes = len(np.unique(labels))

    def worth(part: np.ndarray) -> tuple[int, int, float]:
        lost = classes - len(np.unique(labels[~part]))
        return (-lost, len(np.unique(labels[part])), -abs(part.mean() - 1 / PARTS))

    best = max(parts, key=worth)  # max keeps the first of equals: the seed decides
    return best if worth(best)[0] == 0 else np.zeros(len(labels), dtype=bool)


def _sole_carriers(labels: np.ndarray, groups: np.ndarray) -> list[int]:
    """The groups that alone hold some class: training cannot spare them."""
    owners = [np.unique(groups[labels == label]) for label in np.unique(labels)]
    return [int(owner[0]) for owner in owners if len(owner) == 1]
