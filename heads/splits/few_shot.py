"""Splits with a few training clips per class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from features.errors import ManifestError
from heads.splits.sampling import draw_shots
from heads.splits.split_set import Splits, SplitTuple
from heads.splits.targets import Targets

SHOTS, DRAWS = 8, 5  # defaults


def few_shot_splits(
    splits: Splits,
    targets: Targets,
    groups: np.ndarray,
    ids: np.ndarray,
    shots: int | None,
    draws: int = DRAWS,
    split_seed: int = 0,
    *,
    name: str = "few-shot",
) -> Splits:
    """Draw a few training clips per class from each split, several times. The test rows stay the same.

    From the training rows of every split, `shots` clips of each class are drawn, from as many different
    groups as possible. The same number is drawn from its validation rows (all, if a class has fewer),
    because a setting with few training labels has few validation labels too. In `multi-label`, clips
    without a class are drawn like an additional class, as far as there are any. Smaller draws are subsets
    of larger ones, so curves over `shots` are comparable; this does not hold if clips have several classes.

    Args:
        splits: The splits of any protocol.
        targets: Targets of all clips.
        groups: Group of each row, shape (N,) int, as from `heads.splits.groups.clip_groups`.
        ids: Ids of all clips, shape (N,).
        shots: Clips per class; None: all rows, in one draw.
        draws: Number of draws per split.
        split_seed: Seed of the draws.
        name: Name of the data set, for messages.

    Returns:
        One split of protocol `few-shot` per split and draw.

    Raises:
        ManifestError: The task is regression, or a class has fewer training clips than `shots`.
    """
    if targets.task == "regression":
        raise ManifestError(f"{name}: few-shot draws clips of each class; the labels are numbers (task regression)")
    if shots is None:
        return replace(splits, protocol="few-shot")
    members = targets.members
    members = np.column_stack([members, ~members.any(axis=1)])
    order = np.argsort(np.asarray(ids).astype(str), kind="stable")
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))

    def some(rows: np.ndarray, *seed: int) -> np.ndarray:
        rows = rows[np.argsort(position[rows])]
        return np.sort(rows[draw_shots(members[rows], groups[rows], shots, (split_seed, *seed))])

    found = []
    for number, split in enumerate(splits.splits):
        held = members[split.train].sum(axis=0)[:-1]
        if held.min() < shots:
            raise ManifestError(
                f"{name}: label {targets.names[held.argmin()]!r} has {int(held.min())} training clip(s) when fold "
                f"{split.fold!r} is tested; few_shot.shots asks for {shots} of each"
            )
        for draw in range(draws):
            train, valid = some(split.train, number, draw, 0), some(split.valid, number, draw, 1)
            found.append(replace(split, train=train, valid=valid, draw=draw))
    return replace(splits, protocol="few-shot", splits=SplitTuple(found))
