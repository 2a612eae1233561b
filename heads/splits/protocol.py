"""The only place that decides which rows are used for training, validation and testing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.errors import ManifestError
from features.manifest import Manifest
from heads.splits.absent import check_training, nothing_to_spare, without_training
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
from heads.splits.few_shot import DRAWS, SHOTS, few_shot_splits
from heads.splits.fold_names import fold_name, natural_order
from heads.splits.groups import clip_groups
from heads.splits.left_out import LeftOut, leave_one_out
from heads.splits.sampling import draw_folds, draw_part
from heads.splits.split import Split
from heads.splits.split_set import Splits, SplitTuple
from heads.splits.targets import Targets, strata, targets_of

__all__ = ["PROTOCOLS", "Split", "Splits", "check_protocol", "make_splits", "resolve_protocol"]


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
    on all other folds. `few-shot` draws from the splits that `auto` resolves to, see `heads.splits.few_shot`. If
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
        splits = _leave_one_out(manifest, rows, targets, split_seed, absent_classes)
    else:
        splits = _drawn(manifest, base, rows, targets, split_seed, absent_classes)
    found = Splits(base, splits, (), absent_classes)
    untested = np.flatnonzero(~targets.members[found.test_rows].any(axis=0))
    if len(untested):
        first = targets.names[untested[0]]
        warnings += (f"{manifest.name}: {len(untested)} label(s) have no test clip, first {first!r}",)
    if manifest.similar_labels:
        warnings += (manifest.similar_labels,)
    found = replace(found, warnings=warnings)
    if len(failed):
        found = found.without(failed)
    if absent_classes == "score":
        found = found.scoring_absent(targets, manifest.name)
    if protocol == "few-shot":
        found = few_shot_splits(found, targets, groups, ids, shots, draws, split_seed, name=manifest.name)
    return found


def _drawn(
    manifest: Manifest, base: str, rows: _Rows, targets: Targets, split_seed: int, absent_classes: AbsentClasses
) -> SplitTuple:
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
    return SplitTuple(splits)


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
