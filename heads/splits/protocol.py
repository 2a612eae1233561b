"""The only place that decides which rows are used for training, validation and testing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.errors import ManifestError
from features.manifest import Manifest
from heads.splits.absent import absent_text, check_training, nothing_to_spare, without_training
from heads.splits.feasibility import (
    N_FOLDS,
    OFFICIAL,
    PROTOCOLS,
    AbsentClasses,
    base_protocol,
    check_protocol,
    official_overlaps,
    official_sides,
    resolve_protocol,
    training_sides,
)
from heads.splits.fold_names import fold_name, natural_order
from heads.splits.groups import clip_groups
from heads.splits.left_out import LeftOut, leave_one_out
from heads.splits.sampling import draw_folds, draw_part, draw_shots
from heads.splits.split import Split
from heads.splits.targets import Targets, strata, targets_of

__all__ = ["PROTOCOLS", "Split", "Splits", "check_protocol", "few_shot_splits", "make_splits", "resolve_protocol"]
SHOTS, DRAWS = 8, 5  # defaults of `few-shot`


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

    @property
    def n_folds(self) -> int:
        """Number of test folds; repeated draws of a fold count once."""
        if isinstance(self.splits, LeftOut):
            return len(set(map(str, self.splits.folds)))
        return len({str(split.fold) for split in self.splits})

    def without(self, rows: Sequence[int] | np.ndarray) -> Splits:
        """Return the splits without some rows (failed clips); the other positions do not change.

        A split without remaining test rows is dropped.
        """
        gone = np.asarray(rows, dtype=np.int64)
        if isinstance(self.splits, LeftOut):
            return replace(self, splits=self.splits.without(gone))

        def rest(kept: np.ndarray) -> np.ndarray:
            return kept[~np.isin(kept, gone)]

        splits = (replace(s, train=rest(s.train), valid=rest(s.valid), test=rest(s.test)) for s in self.splits)
        return replace(self, splits=tuple(split for split in splits if len(split.test)))


@dataclass(frozen=True)
class _Rows:
    """The manifest's rows sorted by id, so that draws do not depend on row order."""

    order: np.ndarray
    strata: np.ndarray
    groups: np.ndarray
    members: np.ndarray

    def part(self, mask: np.ndarray, seed: int) -> np.ndarray:
        """Draw about 20 % of the rows in `mask`; return a mask over all rows."""
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
    absent_classes: AbsentClasses = "error",
) -> Splits:
    """Divide the corpus.

    `folds` tests on fold k and validates on the next one in natural order (cyclic); `folds-no-valid` trains
    on all other folds. `few-shot` draws from the splits that `auto` resolves to, see `few_shot_splits`. If
    any other protocol has no validation rows, 20 % of the training rows are drawn for validation. Every draw
    is stratified (see `heads.splits.targets.strata`) and depends only on `split_seed` and the ids, not on
    the row order. All draws except those of `few-shot` keep groups together.

    Args:
        manifest: The labelled clips.
        protocol: Any of `PROTOCOLS`, or `auto`.
        split_seed: Seed of every draw, independent of the seeds of heads.
        keys: Content key of each row's audio ("" if unknown). In drawn splits, clips with identical audio
            are one group; in official ones, their overlap is reported.
        strict: Raise an error if official folds or splits share groups or audio.
        shots: `few-shot`: clips per class.
        draws: `few-shot`: number of draws per fold.
        failed: Rows that some model cannot use. They are removed from all splits before `few-shot` draws.
        absent_classes: `error`, or `score` to allow classes without training clips in some split. Their test clips
            count as errors, and their validation clips are not used.

    Returns:
        The splits, with warnings about groups or audio that official folds or splits share.

    Raises:
        ConfigError: The protocol is unknown.
        ManifestError: As `check_protocol`; no validation rows can be drawn; a class has no training rows, or
            fewer than `shots`; all training values of a regression are equal; overlap under `strict`.
    """
    protocol = resolve_protocol(manifest, protocol)
    check_protocol(manifest, protocol, shots=shots, absent_classes=absent_classes)
    targets, groups = targets_of(manifest), clip_groups(manifest, keys)
    ids = manifest.clips["id"].to_numpy(dtype=str)
    base = base_protocol(manifest, protocol)
    warnings = official_overlaps(manifest, base, keys)
    if strict and warnings:
        raise ManifestError(f"{warnings[0]} (an error under --strict)")
    order = np.argsort(ids, kind="stable")
    rows = _Rows(order, strata(targets)[order], groups[order], targets.members[order])
    splits: Sequence[Split]
    if base == "leave-one-group-out":
        splits = left_out = _leave_one_out(manifest, rows, targets, split_seed, absent_classes)
        tested = targets.members[left_out.test_rows]
    else:
        splits = _drawn(manifest, base, rows, targets, split_seed, absent_classes)
        tested = targets.members[np.concatenate([split.test for split in splits])]
    untested = np.flatnonzero(~tested.any(axis=0))
    if len(untested):
        first = targets.names[untested[0]]
        warnings += (f"{manifest.name}: {len(untested)} label(s) have no test clip, first {first!r}",)
    if manifest.similar_labels:
        warnings += (manifest.similar_labels,)
    found = Splits(base, splits, warnings, absent_classes)
    if len(failed):
        found = found.without(failed)
    if absent_classes == "score":
        found = _score_absent(found, targets, manifest.name)
    if protocol == "few-shot":
        found = few_shot_splits(found, targets, groups, ids, shots, draws, split_seed, name=manifest.name)
    return found


def _drawn(
    manifest: Manifest, base: str, rows: _Rows, targets: Targets, split_seed: int, absent_classes: AbsentClasses
) -> tuple[Split, ...]:
    """Return the splits of any protocol but `leave-one-group-out`."""
    order, splits = rows.order, []
    for number, (fold, valid, test) in enumerate(_divide(manifest, base, rows, split_seed)):
        train = ~(valid | test)
        if absent_classes == "score":
            valid = valid & ~without_training(rows.members, train)
        if not valid.any() and base != "folds-no-valid":
            valid = rows.part(train, _seed(split_seed, number + 1))
            if not valid.any():
                raise ManifestError(nothing_to_spare(manifest.name, fold, int(train.sum())))
            train &= ~valid
        check_training(manifest.name, fold, targets, order[train], absent_classes)
        splits.append(Split(fold, np.sort(order[train]), np.sort(order[valid]), np.sort(order[test])))
    return tuple(splits)


def _leave_one_out(
    manifest: Manifest, rows: _Rows, targets: Targets, split_seed: int, absent_classes: AbsentClasses
) -> LeftOut:
    """Return the splits of `leave-one-group-out`."""
    names = pd.Series(manifest.clips["group"].to_numpy(dtype=object)[rows.order])
    joined = names.groupby(rows.groups).agg(lambda held: "+".join(natural_order(held)))
    merged = dict(zip(joined, joined.index, strict=True))
    tested = natural_order(merged)  # identical audio may join several of the manifest's groups
    groups = np.empty_like(rows.groups)
    groups[rows.order] = rows.groups
    return leave_one_out(
        manifest.name,
        [fold_name(name) for name in tested],
        np.array([merged[name] for name in tested]),
        groups,
        targets,
        [_seed(split_seed, number) for number in range(len(tested) + 1)],
        absent_classes,
    )


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
    return replace(splits, protocol="few-shot", splits=tuple(found))


def _score_absent(splits: Splits, targets: Targets, name: str) -> Splits:
    """Remove validation rows of classes without training rows, and count their test rows."""
    if isinstance(splits.splits, LeftOut):
        kept: Sequence[Split] = splits.splits.scored(targets)
        tested, absent = splits.splits.absent(targets)
        total = len(splits.splits.test_rows)
    else:
        members = targets.members
        lost = [without_training(members, split.train) for split in splits.splits]
        sides = list(zip(splits.splits, lost, strict=True))
        kept = tuple(replace(split, valid=split.valid[~own[split.valid]]) for split, own in sides)
        tested = len(np.unique(np.concatenate([split.test[own[split.test]] for split, own in sides])))
        absent = {
            int(number)
            for split in kept
            for number in np.flatnonzero(~members[split.train].any(0) & members[split.test].any(0))
        }
        total = len(np.unique(np.concatenate([split.test for split in kept])))
    if not tested:
        return replace(splits, splits=kept)
    warning = absent_text(name, targets, absent, tested, total)
    return replace(splits, splits=kept, warnings=(*splits.warnings, warning), n_absent=tested)


def _divide(
    manifest: Manifest, protocol: str, rows: _Rows, split_seed: int
) -> Iterator[tuple[int | str, np.ndarray, np.ndarray]]:
    """Yield each test fold with its validation and test masks; an empty validation mask is filled by the caller."""
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
    else:
        n_groups = len(np.unique(rows.groups))
        if n_groups < N_FOLDS:
            raise ManifestError(
                f"{manifest.name}: clips with identical audio count as one, which leaves {n_groups} of "
                f"{len(rows.order)}; protocol 'kfold' needs {N_FOLDS} or more"
            )
        folds = draw_folds(rows.strata, rows.groups, N_FOLDS, _seed(split_seed, 0))
        for fold in range(N_FOLDS):
            yield fold + 1, nothing.copy(), folds == fold


def _seed(split_seed: int, draw: int) -> int:
    """Return the seed of one draw: draw 0 is for the test rows, the others for each split's validation rows."""
    return int(np.random.SeedSequence([split_seed, draw]).generate_state(1)[0])
