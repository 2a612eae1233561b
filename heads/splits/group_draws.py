"""Validation groups of `leave-one-group-out`, drawn from the classes of each group instead of from rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from heads.splits.sampling import PARTS, draw_folds, draw_part

DRAWN_APART = 200  # up to this many groups, each test group has a validation draw of its own
CELLS = 2**18  # numbers per step of a batched draw: 2 MB


@dataclass(frozen=True)
class GroupCounts:
    """What the groups hold.

    Attributes:
        strata: Rows of each group and stratum, shape (G, S) float64.
        members: Rows of each group and class, shape (G, C) float64.
        sizes: Rows of each group, shape (G,) int64.
    """

    strata: np.ndarray
    members: np.ndarray
    sizes: np.ndarray


def count_groups(strata: np.ndarray, groups: np.ndarray, members: np.ndarray) -> GroupCounts:
    """Count strata and classes per group.

    Args:
        strata: Stratum of each row, shape (N,) int.
        groups: Group of each row, shape (N,) int, all of 0…G-1.
        members: Classes of each row, shape (N, C) bool.
    """
    n_groups, n_strata = int(groups.max()) + 1, int(strata.max()) + 1
    table = np.bincount(groups * n_strata + strata, minlength=n_groups * n_strata).reshape(n_groups, n_strata)
    return GroupCounts(
        table.astype(np.float64), count_classes(groups, members, n_groups), np.bincount(groups, minlength=n_groups)
    )


def count_classes(groups: np.ndarray, members: np.ndarray, n_groups: int) -> np.ndarray:
    """Count the rows of each group and class, shape (G, C) float64, from groups (N,) and classes (N, C) bool."""
    held = [np.bincount(groups[column], minlength=n_groups) for column in members.T]
    return np.stack(held, axis=1).astype(np.float64) if held else np.zeros((n_groups, 0))


def validation_groups(
    strata: np.ndarray, groups: np.ndarray, members: np.ndarray, seeds: Sequence[int], shared_seed: int
) -> Iterator[np.ndarray]:
    """Yield the validation groups of each test group, about 20 % of the other groups' rows.

    Every class also remains in training. Up to `DRAWN_APART` groups, the draw for a test group is
    `heads.splits.sampling.draw_part` over the other groups' rows. These draws take time proportional to G². With more
    groups, all groups are divided into five folds once, and a test group is validated on the fold after its own
    (cyclic), or on the next one that loses no class and holds as many classes.

    Args:
        strata: Stratum of each row, shape (N,) int.
        groups: Group of each row, shape (N,) int, all of 0…G-1.
        members: Classes of each row, shape (N, C) bool; (N, 0) in regression: the strata are the classes.
        seeds: Seed of each test group's draw, in the order of the groups.
        shared_seed: Seed of the one division of more groups.

    Yields:
        Shape (G,) bool for test group 0, 1, …; all False if no group can be spared.
    """
    counts = count_groups(strata, groups, members)
    n_groups = len(counts.sizes)
    if n_groups > DRAWN_APART:
        folds = _fold_of_groups(strata, groups, counts, shared_seed)
        for group in range(n_groups):
            rest = np.where(np.arange(n_groups) == group, -1, folds)
            yield _best_part(counts, rest, group, first=(folds[group] + 1) % PARTS)
        return
    drawn = _folds_without_each(counts, seeds)
    for group in range(n_groups):
        if group in drawn:
            yield _best_part(counts, drawn[group], group)
        else:  # a group per row
            rows = np.argsort(groups, kind="stable")
            rows = rows[groups[rows] != group]  # in the order of the ids, on which a draw of single rows depends
            part = draw_part(strata[rows], groups[rows], seeds[group], members[rows])
            yield np.isin(np.arange(n_groups), groups[rows][part])


def group_folds(counts: np.ndarray, orders: np.ndarray, n_folds: int) -> np.ndarray:
    """Assign groups to folds as scikit-learn's StratifiedGroupKFold does, for several draws at once.

    Args:
        counts: Rows of each group and stratum, shape (G, S) float64.
        orders: Groups in the order in which each draw assigns them, shape (T, n).
        n_folds: Number of folds.

    Returns:
        Fold of each group in each draw, shape (T, G) int64; -1 for groups that a draw leaves out.
    """
    n_draws, numbers = len(orders), np.arange(n_folds)
    totals = counts[orders].sum(axis=1)[:, None]  # (T, 1, S)
    held = np.zeros((n_draws, n_folds, counts.shape[1]))
    folds = np.full((n_draws, len(counts)), -1)
    every = np.arange(n_draws)
    for group in orders.T:
        own = counts[group][:, None]  # (T, 1, S)
        proposed = np.repeat((held / totals)[:, None], n_folds, axis=1)  # (T, fold that gets the group, fold, S)
        proposed[:, numbers, numbers] = (held + own) / totals
        spread = proposed.std(axis=2).mean(axis=-1)  # (T, fold)
        rows = held.sum(axis=2)
        best, least, fewest = np.zeros(n_draws, dtype=np.int64), spread[:, 0].copy(), rows[:, 0].copy()
        for fold in numbers[1:]:
            close = np.isclose(spread[:, fold], least) & (rows[:, fold] < fewest)
            better = (spread[:, fold] < least) | close
            best[better], least[better], fewest[better] = fold, spread[better, fold], rows[better, fold]
        held[every, best] += own[:, 0]
        folds[every, group] = best
    return folds


def _fold_of_groups(strata: np.ndarray, groups: np.ndarray, counts: GroupCounts, seed: int) -> np.ndarray:
    """Divide all groups into five folds, shape (G,)."""
    if counts.sizes.max() == 1:
        rows = np.argsort(groups, kind="stable")
        return draw_folds(strata[rows], groups[rows], PARTS, seed)
    present = counts.strata.any(axis=0)
    table = np.ascontiguousarray(counts.strata[:, present])
    return group_folds(table, _order(table, np.arange(len(table)), seed)[None], PARTS)[0]


def _folds_without_each(counts: GroupCounts, seeds: Sequence[int]) -> dict[int, np.ndarray]:
    """Divide the other groups of each test group into folds, unless each of them has a single row."""
    n_groups = len(counts.sizes)
    rest = counts.strata.sum(axis=0) - counts.strata  # (G, S)
    alike: dict[tuple[int, bytes], list[int]] = {}
    for group in range(n_groups):
        if counts.sizes.sum() - counts.sizes[group] > n_groups - 1:
            n_folds = min(PARTS, n_groups - 1, int(rest[group].max()))
            alike.setdefault((n_folds, (rest[group] > 0).tobytes()), []).append(group)
    found = {}
    for (n_folds, mask), tested in alike.items():
        if n_folds < 2:
            found.update({group: np.full(n_groups, -1) for group in tested})
            continue
        table = np.ascontiguousarray(counts.strata[:, np.frombuffer(mask, dtype=bool)])
        block = max(1, CELLS // (n_folds**2 * table.shape[1]))
        for at in range(0, len(tested), block):
            some = tested[at : at + block]
            others = [np.delete(np.arange(n_groups), group) for group in some]
            orders = np.stack([_order(table, own, seeds[group]) for group, own in zip(some, others, strict=True)])
            found.update(zip(some, group_folds(table, orders, n_folds), strict=True))
    return found


def _order(counts: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Return the groups in the order in which StratifiedGroupKFold assigns them."""
    shuffled = np.arange(len(groups))
    np.random.RandomState(seed).shuffle(shuffled)
    shuffled = groups[shuffled]
    return shuffled[np.argsort(-np.std(counts[shuffled], axis=1), kind="stable")]


def _best_part(counts: GroupCounts, folds: np.ndarray, tested: int, first: int | None = None) -> np.ndarray:
    """Choose the fold that validates, as `draw_part` does.

    Args:
        counts: What the groups hold.
        folds: Fold of each group, shape (G,); -1 for the test group.
        tested: The test group.
        first: The fold that is chosen among equally good ones; None: the one whose size is closest to 20 %.

    Returns:
        The validation groups, shape (G,) bool.
    """
    n_folds = int(folds.max()) + 1
    if n_folds < 2:
        return np.zeros(len(folds), dtype=bool)
    parts = (folds == np.arange(n_folds)[:, None]) & ~_sole_carriers(counts.members, tested)  # (F, G)
    rest = counts.members.sum(axis=0) - counts.members[tested]
    held = parts @ counts.members  # (F, C)
    lost = (rest > 0).sum() - (rest - held > 0).sum(axis=1)
    n_rows = counts.sizes.sum() - counts.sizes[tested]
    sizes = np.abs((parts @ counts.sizes) / n_rows - 1 / PARTS)
    worth = [
        (-int(lost[at]), int((held[at] > 0).sum()), int(n_strata), 0.0 if first is not None else -sizes[at])
        for at, n_strata in enumerate(((parts @ counts.strata) > 0).sum(axis=1))
    ]
    best = max(np.roll(np.arange(n_folds), -(first or 0)), key=lambda fold: worth[fold])
    return parts[best] if worth[best][0] == 0 else np.zeros(len(folds), dtype=bool)


def _sole_carriers(members: np.ndarray, tested: int) -> np.ndarray:
    """Return the groups that contain all rows of some class outside the test group, shape (G,) bool."""
    there = members > 0
    there[tested] = False
    return np.asarray(there[:, there.sum(axis=0) == 1].any(axis=1))
