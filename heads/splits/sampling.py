"""Seeded, stratified draws that keep groups together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

PARTS = 5  # a drawn test or validation set is one part in five: 20 %


def draw_folds(labels: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Divide rows into folds of similar size and class proportions; a group stays in one fold.

    Args:
        labels: Class of each row, shape (N,), integers.
        groups: Group of each row, shape (N,), integers.
        n_folds: Number of folds, from 2 to the number of rows of the largest class.
        seed: Seed of the draw.

    Returns:
        Fold 0…n_folds-1 of each row, shape (N,).
    """
    singletons = len(np.unique(groups)) == len(groups)
    splitter = (StratifiedKFold if singletons else StratifiedGroupKFold)(n_folds, shuffle=True, random_state=seed)
    folds = np.full(len(labels), -1, dtype=np.int64)
    with warnings.catch_warnings():
        # scikit-learn warns about classes with fewer rows than folds; callers check that training keeps every class.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        splits = splitter.split(labels[:, None], labels, None if singletons else groups)
        for fold, (_, part) in enumerate(splits):
            folds[part] = fold
    return folds


def draw_part(labels: np.ndarray, groups: np.ndarray, seed: int, members: np.ndarray | None = None) -> np.ndarray:
    """Draw about 20 % of the rows, stratified and by whole groups, so that every class also remains in the rest.

    Args:
        labels: Stratum of each row, shape (N,), integers.
        groups: Group of each row, shape (N,), integers.
        seed: Seed of the draw.
        members: Classes of each row, shape (N, C) bool; None: the strata are the classes.

    Returns:
        Mask of the drawn rows, shape (N,) bool; all False if no rows can be drawn.
    """
    n_folds = min(PARTS, len(np.unique(groups)), int(np.bincount(labels).max(initial=0)))
    if n_folds < 2:
        return np.zeros(len(labels), dtype=bool)
    if members is None:
        members = labels[:, None] == np.unique(labels)
    folds = draw_folds(labels, groups, n_folds, seed)
    pinned = np.isin(groups, _sole_carriers(members, groups))
    parts = [(folds == fold) & ~pinned for fold in range(n_folds)]
    classes = int(members.any(axis=0).sum())

    def worth(part: np.ndarray) -> tuple[int, int, int, float]:
        lost = classes - int(members[~part].any(axis=0).sum())
        held = int(members[part].any(axis=0).sum())
        return (-lost, held, len(np.unique(labels[part])), -abs(part.mean() - 1 / PARTS))

    best = max(parts, key=worth)  # ties go to the first part, so the seed decides
    return best if worth(best)[0] == 0 else np.zeros(len(labels), dtype=bool)


def draw_shots(members: np.ndarray, groups: np.ndarray, shots: int, seed: Sequence[int]) -> np.ndarray:
    """Draw `shots` rows of every class (all, if it has fewer) from as many different groups as possible.

    If each row has one class, a smaller draw with the same seed is a subset of a larger one. A row of
    several classes counts for each of them; the rarest class is drawn first.

    Args:
        members: Classes of each row, shape (N, C) bool.
        groups: Group of each row, shape (N,), integers.
        shots: Rows per class.
        seed: Seed of the draw, any number of integers.

    Returns:
        Mask of the drawn rows, shape (N,) bool.
    """
    drawn = np.zeros(len(members), dtype=bool)
    for own in np.argsort(members.sum(axis=0), kind="stable"):
        rng = np.random.default_rng([*seed, int(own)])
        shuffled = rng.permutation(np.flatnonzero(members[:, own]))
        rank = pd.Series(groups[shuffled]).groupby(groups[shuffled]).cumcount().to_numpy()
        place = rng.permutation(int(groups.max(initial=0)) + 1)[groups[shuffled]]
        ranked = shuffled[np.lexsort((place, rank))]  # one row of each group, then a second one, …
        taken = int(drawn[ranked].sum())
        drawn[ranked[~drawn[ranked]][: max(0, shots - taken)]] = True
    return drawn


def _sole_carriers(members: np.ndarray, groups: np.ndarray) -> list[int]:
    """Return the groups that contain all rows of some class; they must stay in training."""
    owners = [np.unique(groups[column]) for column in members.T]
    return [int(owner[0]) for owner in owners if len(owner) == 1]
