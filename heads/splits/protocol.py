"""Which rows train, validate and test. Nothing else in the program decides that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.errors import ManifestError
from features.manifest import Manifest
from heads.splits.feasibility import (
    N_FOLDS,
    OFFICIAL,
    PROTOCOLS,
    base_protocol,
    check_protocol,
    official_overlaps,
    official_sides,
    resolve_protocol,
    training_sides,
)
from heads.splits.fold_names import fold_name, natural_order
from heads.splits.groups import clip_groups
from heads.splits.sampling import draw_folds, draw_part, draw_shots
from heads.splits.targets import Targets, strata, targets_of

__all__ = ["PROTOCOLS", "Split", "Splits", "check_protocol", "few_shot_splits", "make_splits", "resolve_protocol"]
SHOTS, DRAWS = 8, 5  # of `few-shot`


@dataclass(frozen=True)
class Split:
    """One division of the corpus.

    Attributes:
        fold: The test fold's name in the manifest; 1…5 for `kfold`; the group for
            `leave-one-group-out`; the protocol's name where there is one split only.
        train: Rows to train on: positions in the manifest, ascending int64, disjoint from the others.
        valid: Rows that choose layer, hyper-parameters and when to stop.
        test: Rows that are scored once, at the end.
        draw: Number of the draw, where a protocol repeats a fold with other rows.
    """

    fold: int | str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    draw: int = 0


@dataclass(frozen=True)
class Splits:
    """All divisions of one protocol.

    Attributes:
        protocol: The resolved protocol, never `auto`.
        splits: One `Split` per test fold, and per draw within it.
        warnings: What a reader of the results must know, one sentence each.
    """

    protocol: str
    splits: tuple[Split, ...]
    warnings: tuple[str, ...]

    @property
    def n_folds(self) -> int:
        """How many test folds there are, however often training rows are drawn."""
        return len({str(split.fold) for split in self.splits})

    def without(self, rows: Sequence[int] | np.ndarray) -> Splits:
        """The same splits with some rows (clips that failed) left out; positions keep their meaning.

        A split that has no test row left is dropped.
        """
        gone = np.asarray(rows, dtype=np.int64)

        def rest(kept: np.ndarray) -> np.ndarray:
            return kept[~np.isin(kept, gone)]

        splits = (replace(s, train=rest(s.train), valid=rest(s.valid), test=rest(s.test)) for s in self.splits)
        return replace(self, splits=tuple(split for split in splits if len(split.test)))


@dataclass(frozen=True)
class _Rows:
    """The manifest in the order of its ids, which is what every draw sees."""

    order: np.ndarray
    strata: np.ndarray
    groups: np.ndarray
    members: np.ndarray

    def part(self, mask: np.ndarray, seed: int) -> np.ndarray:
        """About 20 % of some rows, as a mask of all."""
        drawn = np.zeros(len(self.order), dtype=bool)
        drawn[np.flatnonzero(mask)] = draw_part(self.strata[mask], self.groups[mask], seed, self.members[mask])
        return drawn


def make_splits(
    manifest: Manifest,
    protocol: str = "auto",
    *,
    split_seed: int = 0,
    keys: Sequence[str] | None = None,
    strict: bool = False,
    shots: int = SHOTS,
    draws: int = DRAWS,
    failed: Sequence[int] = (),
) -> Splits:
    """Divide the corpus.

    Test and validation folds of `folds` are k and the next one in natural order (cyclic);
    `folds-no-valid` trains on all other folds. `few-shot` draws from the splits that `auto` would
    otherwise stand for, see `few_shot_splits`. Where any other protocol leaves no validation rows, 20 %
    of the training rows are drawn. Every draw is stratified (see `heads.splits.targets.strata`), keeps groups
    whole but for the few clips of `few-shot`, and depends on `split_seed` and the ids alone, not on row
    order.

    Args:
        manifest: The labelled clips.
        protocol: Any of `PROTOCOLS`, or `auto`.
        split_seed: Seed of every draw; seeds of heads do not enter.
        keys: Content key of each row's audio ("" where unknown). In drawn splits identical audio
            counts as one group; in official ones its overlap is reported.
        strict: Make overlap between the sides of an official division an error.
        shots: `few-shot`: clips per class.
        draws: `few-shot`: how often they are drawn in each fold.
        failed: Rows that no model can use: left out of all splits, before `few-shot` draws.

    Returns:
        The splits, with warnings about official ones that share groups or audio between sides.

    Raises:
        ConfigError: An unknown protocol.
        ManifestError: As `check_protocol`; no validation rows to draw; a class without training
            rows, or with fewer than `shots`; values to predict that are all alike in training; overlap
            under `strict`.
    """
    protocol = resolve_protocol(manifest, protocol)
    check_protocol(manifest, protocol, shots=shots)
    targets, groups = targets_of(manifest), clip_groups(manifest, keys)
    ids = manifest.clips["id"].to_numpy(dtype=str)
    base = base_protocol(manifest, protocol)
    warnings = official_overlaps(manifest, base, keys)
    if strict and warnings:
        raise ManifestError(f"{warnings[0]} (an error under --strict)")
    order = np.argsort(ids, kind="stable")
    rows = _Rows(order, strata(targets)[order], groups[order], targets.members[order])
    splits = []
    for number, (fold, valid, test) in enumerate(_divide(manifest, base, rows, split_seed)):
        train = ~(valid | test)
        if not valid.any() and base != "folds-no-valid":
            valid = rows.part(train, _seed(split_seed, number + 1))
            if not valid.any():
                raise ManifestError(
                    f"{manifest.name}: no validation clips to spare among the {int(train.sum())} training clips of "
                    f"fold {fold!r} without losing a label or parting a group; mark some as `split: valid`"
                )
            train &= ~valid
        _check_training(manifest.name, fold, targets, order[train])
        splits.append(Split(fold, np.sort(order[train]), np.sort(order[valid]), np.sort(order[test])))
    tested = targets.members[np.concatenate([split.test for split in splits])]
    untested = np.flatnonzero(~tested.any(axis=0))
    if len(untested):
        first = targets.names[untested[0]]
        warnings += (f"{manifest.name}: {len(untested)} label(s) have no test clip, first {first!r}",)
    found = Splits(base, tuple(splits), warnings)
    if len(failed):
        found = found.without(failed)
    if protocol == "few-shot":
        found = few_shot_splits(found, targets, groups, ids, shots, draws, split_seed, name=manifest.name)
    return found


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
    """Keep a few training clips of each class, drawn anew several times; the same clips are tested.

    Of every split's training rows `shots` of each class are drawn, from as many groups as there are; and
    of its validation rows as many, or all where a class has fewer, since who has few labels to train on
    has few to choose by. Clips of no class (`multi-label`) are drawn like one more class, as far as
    there are. The clips of fewer shots are among those of more (but where clips are of several classes),
    so curves over `shots` compare like with like.

    Args:
        splits: Of any protocol.
        targets: Of all clips.
        groups: Group of each row, shape (N,) int, as from `heads.splits.groups.clip_groups`.
        ids: Of all clips, shape (N,).
        shots: Clips per class; None: all rows, in one draw.
        draws: How often clips are drawn in each split.
        split_seed: Seed of the draws.
        name: Of the data set, for messages.

    Returns:
        One split per split and draw, of protocol `few-shot`.

    Raises:
        ManifestError: Regression; a class with fewer training clips than `shots`.
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
    return replace(splits, protocol="few-shot", splits=tuple(found))


def _check_training(name: str, fold: int | str, targets: Targets, train: np.ndarray) -> None:
    """Refuse training rows that lack a class, or whose values are all alike."""
    absent = np.flatnonzero(~targets.members[train].any(axis=0))
    if len(absent):
        raise ManifestError(
            f"{name}: label {targets.names[absent[0]]!r} has no training clip when fold {fold!r} is tested"
        )
    if targets.task == "regression" and np.ptp(targets.values[train]) == 0:
        raise ManifestError(
            f"{name}: every training clip has the label {targets.values[train[0]]} when fold {fold!r} is tested; "
            "there is nothing to learn"
        )


def _divide(
    manifest: Manifest, protocol: str, rows: _Rows, split_seed: int
) -> Iterator[tuple[int | str, np.ndarray, np.ndarray]]:
    """Yield each test fold with its validation and test masks; no validation rows: they are still to be drawn."""
    nothing = np.zeros(len(rows.order), dtype=bool)
    if protocol in OFFICIAL:
        sides = official_sides(manifest, protocol)[rows.order]
        for tested, training in training_sides(protocol, natural_order(sides)):
            test = sides == tested
            valid = ~test & ~np.isin(sides.astype(str), [str(side) for side in training])
            yield (protocol if protocol == "split" else tested), valid, test
    elif protocol == "holdout":
        test = rows.part(~nothing, _seed(split_seed, 0))
        if not test.any():
            raise ManifestError(
                f"{manifest.name}: no test clips can be drawn without losing a label or parting a group"
            )
        yield protocol, nothing.copy(), test
    elif protocol == "kfold":
        folds = draw_folds(rows.strata, rows.groups, N_FOLDS, _seed(split_seed, 0))
        for fold in range(N_FOLDS):
            yield fold + 1, nothing.copy(), folds == fold
    else:
        names = manifest.clips["group"].to_numpy(dtype=object)[rows.order]
        merged = {"+".join(natural_order(names[rows.groups == group])): group for group in np.unique(rows.groups)}
        for name in natural_order(merged):  # identical audio may have joined several of the manifest's groups
            yield fold_name(name), nothing.copy(), rows.groups == merged[name]


def _seed(split_seed: int, draw: int) -> int:
    """Seed of one of a protocol's draws: 0 for the test rows, then one per split's validation rows."""
    return int(np.random.SeedSequence([split_seed, draw]).generate_state(1)[0])
