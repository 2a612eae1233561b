"""Which rows train, validate and test. Nothing else in the program decides that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.errors import ManifestError
from features.manifest import Manifest
from heads.checks import (
    N_FOLDS,
    PROTOCOLS,
    check_protocol,
    official_overlaps,
    official_sides,
    resolve_protocol,
    training_sides,
)
from heads.draws import draw_folds, draw_part
from heads.fold_names import fold_name, natural_order
from heads.groups import clip_groups

__all__ = ["PROTOCOLS", "Split", "Splits", "check_protocol", "make_splits", "resolve_protocol"]


@dataclass(frozen=True)
class Split:
    """One division of the corpus.

    Attributes:
        fold: The test fold's name in the manifest; 1…5 for `kfold`; the group for
            `leave-one-group-out`; the protocol's name where there is one split only.
        train: Rows to train on: positions in the manifest, ascending int64, disjoint from the others.
        valid: Rows that choose layer, hyper-parameters and when to stop.
        test: Rows that are scored once, at the end.
    """

    fold: int | str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Splits:
    """All divisions of one protocol.

    Attributes:
        protocol: The resolved protocol, never `auto`.
        splits: One `Split` per test fold.
        warnings: What a reader of the results must know, one sentence each.
    """

    protocol: str
    splits: tuple[Split, ...]
    warnings: tuple[str, ...]

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
    """The manifest in the order of its ids, which is what every draw sees: labels and groups as integers."""

    order: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def make_splits(
    manifest: Manifest,
    protocol: str = "auto",
    *,
    split_seed: int = 0,
    keys: Sequence[str] | None = None,
    strict: bool = False,
) -> Splits:
    """Divide the corpus.

    Test and validation folds of `folds` are k and the next one in natural order (cyclic). Where a
    protocol leaves no validation rows, 20 % of the training rows are drawn. Every draw is
    stratified, keeps groups whole, and depends on `split_seed` and the ids alone, not on row order.

    Args:
        manifest: The labelled clips.
        protocol: Any of `PROTOCOLS`, or `auto`.
        split_seed: Seed of every draw; seeds of heads do not enter.
        keys: Content key of each row's audio ("" where unknown). In drawn splits identical audio
            counts as one group; in official ones its overlap is reported.
        strict: Make overlap between the sides of an official division an error.

    Returns:
        The splits, with warnings about official ones that share groups or audio between sides.

    Raises:
        ConfigError: An unknown protocol.
        ManifestError: As `check_protocol`; no validation rows to draw; a class without training
            rows; overlap under `strict`.
    """
    protocol = resolve_protocol(manifest, protocol)
    check_protocol(manifest, protocol)
    warnings = official_overlaps(manifest, protocol, keys)
    if strict and warnings:
        raise ManifestError(f"{warnings[0]} (an error under --strict)")
    clip_labels = manifest.clips["label"].to_numpy(dtype=str)
    order = np.argsort(manifest.clips["id"].to_numpy(dtype=str), kind="stable")
    names, labels = np.unique(clip_labels, return_inverse=True)
    rows = _Rows(order, labels[order], clip_groups(manifest, keys)[order])
    splits = []
    for number, (fold, valid, test) in enumerate(_divide(manifest, protocol, rows, split_seed)):
        train = ~(valid | test)
        if not valid.any():
            valid[np.flatnonzero(train)] = draw_part(
                rows.labels[train], rows.groups[train], _seed(split_seed, number + 1)
            )
            if not valid.any():
                raise ManifestError(
                    f"{manifest.name}: no validation clips to spare among the {int(train.sum())} training clips of "
                    f"fold {fold!r} without losing a label or parting a group; mark some as `split: valid`"
                )
            train &= ~valid
        absent = np.setdiff1d(labels, rows.labels[train])
        if len(absent):
            raise ManifestError(
                f"{manifest.name}: label {str(names[absent[0]])!r} has no training clip when fold {fold!r} is tested"
            )
        splits.append(Split(fold, *(np.sort(order[mask]) for mask in (train, valid, test))))
    untested = np.setdiff1d(names, clip_labels[np.concatenate([split.test for split in splits])])
    if len(untested):
        warnings += (f"{manifest.name}: {len(untested)} label(s) have no test clip, first {str(untested[0])!r}",)
    return Splits(protocol, tuple(splits), warnings)


def _divide(
    manifest: Manifest, protocol: str, rows: _Rows, split_seed: int
) -> Iterator[tuple[int | str, np.ndarray, np.ndarray]]:
    """Yield each test fold with its validation and test masks; no validation rows: they are still to be drawn."""
    nothing = np.zeros(len(rows.order), dtype=bool)
    if protocol in ("folds", "split"):
        sides = official_sides(manifest, protocol)[rows.order]
        for tested, training in training_sides(protocol, natural_order(sides)):
            test = sides == tested
            valid = ~test & ~np.isin(sides.astype(str), [str(side) for side in training])
            yield (tested if protocol == "folds" else protocol), valid, test
    elif protocol == "holdout":
        test = draw_part(rows.labels, rows.groups, _seed(split_seed, 0))
        if not test.any():
            raise ManifestError(
                f"{manifest.name}: no test clips can be drawn without losing a label or parting a group"
            )
        yield protocol, nothing.copy(), test
    elif protocol == "kfold":
        folds = draw_folds(rows.labels, rows.groups, N_FOLDS, _seed(split_seed, 0))
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
