"""Checks that a data set can be divided by a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from features.errors import ConfigError, ManifestError
from features.manifest import SPLITS, Manifest
from heads.splits.advice import class_sizes_advice, listed
from heads.splits.fold_names import fold_names, natural_order
from heads.splits.groups import clip_groups, spread, unique_keys
from heads.splits.targets import Targets, strata, targets_of

PROTOCOLS = ("folds", "folds-no-valid", "split", "holdout", "kfold", "leave-one-group-out", "few-shot")
OFFICIAL = ("folds", "folds-no-valid", "split")
AbsentClasses = Literal["error", "score"]
"""What happens if a class has no training clip for some test fold: an error, or its test clips count as errors."""
N_FOLDS = 5  # folds of `kfold`
MIN_GROUPS = 3  # groups per label in a drawn protocol: train, valid and test need one each


def resolve_protocol(manifest: Manifest, protocol: str) -> str:
    """Resolve `auto`: `folds` if the manifest has a `fold` column, else `split` if it has one, else `kfold`.

    Raises:
        ConfigError: The protocol is unknown.
    """
    if protocol == "auto":
        return "folds" if "fold" in manifest.clips else "split" if "split" in manifest.clips else "kfold"
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol: unknown {protocol!r}; use auto, {', '.join(PROTOCOLS)}")
    return protocol


def base_protocol(manifest: Manifest, protocol: str) -> str:
    """Return the protocol that divides the corpus; `few-shot` draws from the splits that `auto` resolves to."""
    return resolve_protocol(manifest, "auto" if protocol == "few-shot" else protocol)


def check_protocol(
    manifest: Manifest, protocol: str, *, shots: int = 1, absent_classes: AbsentClasses = "error"
) -> None:
    """Check that the protocol can divide the corpus.

    Args:
        manifest: The labelled clips.
        protocol: Any of `PROTOCOLS`, or `auto`.
        shots: Training clips per class of `few-shot`.
        absent_classes: Whether a label may lack training clips for some test fold: `error` or `score`.

    Raises:
        ConfigError: The protocol is unknown.
        ManifestError: There is only one label; the `fold`, `split` or `group` column is missing; a fold or
            split has only one class; a label occurs in only one fold or split, or has no training clips for
            some test fold; a label has too few groups (or clips, without groups); in regression, all values
            of a fold or split are equal; `few-shot` is used for regression, or a label has fewer clips than
            `shots`.
    """
    protocol = resolve_protocol(manifest, protocol)
    targets = targets_of(manifest)
    _check_labels(manifest.name, targets)
    if protocol == "few-shot":
        _check_shots(manifest.name, targets, shots)
    base = base_protocol(manifest, protocol)
    if base in OFFICIAL:
        _check_official(manifest, targets, base, absent_classes)
    else:
        _check_drawn(manifest, targets, base, absent_classes)


def _check_labels(name: str, targets: Targets) -> None:
    """Raise if all labels are equal."""
    if targets.task == "regression":
        if np.ptp(targets.values) == 0:
            raise ManifestError(f"{name}: every clip has the label {targets.values[0]}; regression needs two values")
    elif len(targets.names) < 2 and targets.members.all():
        raise ManifestError(f"{name}: every clip has the label {targets.names[0]!r}; a classifier needs two")


def _check_shots(name: str, targets: Targets, shots: int) -> None:
    """Raise if a class has fewer clips than `few-shot` trains on."""
    if targets.task == "regression":
        raise ManifestError(
            f"{name}: protocol 'few-shot' draws clips of each class; the labels are numbers (task regression)"
        )
    held = targets.members.sum(axis=0)
    if held.min() < shots:
        raise ManifestError(
            f"{name}: label {targets.names[held.argmin()]!r} has {int(held.min())} clip(s); protocol 'few-shot' draws "
            f"{shots} of each label to train on (few_shot.shots); dataset.min_clips: {shots} leaves out smaller classes"
        )


def official_sides(manifest: Manifest, protocol: str) -> np.ndarray:
    """Return the official fold or split of each row, shape (N,), dtype object.

    Raises:
        ManifestError: The manifest has no such column.
    """
    column = "split" if protocol == "split" else "fold"
    if column not in manifest.clips:
        raise ManifestError(f"{manifest.name}: protocol {protocol!r} needs a {column!r} column; the manifest has none")
    return fold_names(manifest.clips[column])


def official_overlaps(manifest: Manifest, protocol: str, keys: Sequence[str] | None = None) -> tuple[str, ...]:
    """Report groups and identical audio that occur in more than one official fold or split.

    Args:
        manifest: The labelled clips.
        protocol: One of `OFFICIAL`, or `few-shot` based on one; drawn protocols have no overlap by construction.
        keys: Content key of each row's audio, "" if unknown; None: audio is not compared.

    Returns:
        One sentence with counts for each kind of overlap.
    """
    protocol = base_protocol(manifest, protocol)
    if protocol not in OFFICIAL:
        return ()
    sides = official_sides(manifest, protocol)
    noun = "splits" if protocol == "split" else "folds"
    members = {}
    if "group" in manifest.clips:
        members["group", "groups"] = manifest.clips["group"].to_numpy()
    if keys is not None:
        members["audio", "pieces of identical audio"] = unique_keys(keys)
    sentences = []
    for (kind, plural), member in members.items():
        shared = spread(member, sides)
        if len(shared):
            clips = np.isin(member.astype(str), shared)
            if kind == "group":
                example = f"{shared[0]!r}, of {len(np.unique(member.astype(str)))}"
            else:
                example = " = ".join(map(repr, manifest.clips["id"][member == shared[0]][:2]))
            sentences.append(
                f"{manifest.name}: {len(shared)} {plural} ({example}) with {int(clips.sum())} clips in more than one "
                f"of the official {noun}: scores may be too high"
            )
    return tuple(sentences)


def _check_official(manifest: Manifest, targets: Targets, protocol: str, absent_classes: AbsentClasses) -> None:
    sides = official_sides(manifest, protocol)
    names = natural_order(sides)
    noun = "split" if protocol == "split" else "fold"
    if protocol == "split" and not {"train", "test"} <= set(names):
        absent = "test" if "train" in names else "train"
        raise ManifestError(
            f"{manifest.name}: no clip has split {absent!r}; the column holds {', '.join(map(str, names))}"
        )
    if len(names) < 2:
        raise ManifestError(
            f"{manifest.name}: every clip is in fold {names[0]!r}; protocol {protocol!r} needs two or more"
        )
    where = {label: set(sides[members]) for label, members in zip(targets.names, targets.members.T, strict=True)}
    for name in names:
        _check_side(manifest.name, targets, sides == name, f"{noun} {name!r}")
    if absent_classes == "score":
        return
    single = [label for label, found in where.items() if len(found) == 1]
    if single:
        (side,) = where[single[0]]
        raise ManifestError(
            f"{manifest.name}: label {single[0]!r} occurs in {noun} {side!r} only{listed(single)}; "
            f"give it clips in other {noun}s, {class_sizes_advice(single)}"
        )
    for fold, training in training_sides(protocol, names):
        lacking = [label for label, found in where.items() if not found & training]
        if lacking:
            there = ", ".join(repr(name) for name in natural_order(where[lacking[0]]))
            raise ManifestError(
                f"{manifest.name}: label {lacking[0]!r} has no training clip when {noun} {fold!r} is tested "
                f"(it occurs in {there}){listed(lacking)}; {class_sizes_advice(lacking)}"
            )


def _check_side(name: str, targets: Targets, rows: np.ndarray, side: str) -> None:
    """Raise if a fold or split has only one class, no class, or only one value."""
    if targets.task == "regression":
        if np.ptp(targets.values[rows]) == 0:
            raise ManifestError(f"{name}: {side} holds the value {targets.values[rows][0]} only; it needs two or more")
        return
    held = np.flatnonzero(targets.members[rows].any(axis=0))
    if targets.task == "multi-label" and not len(held):
        raise ManifestError(f"{name}: no clip of {side} has a label; it needs one or more")
    if targets.task == "single-label" and len(held) == 1:
        raise ManifestError(f"{name}: {side} holds one class only, {targets.names[held[0]]!r}; it needs two or more")


def training_sides(protocol: str, names: Sequence[int | str]) -> list[tuple[int | str, set[int | str]]]:
    """Return, for each test fold or split of an official division, the folds or splits it is trained on.

    `folds` validates on the fold after the test fold (cyclic). With fewer than three folds, validation rows
    are drawn from the training rows instead. `folds-no-valid` trains on all other folds.
    """
    if protocol == "split":
        return [(SPLITS[2], {SPLITS[0]})]
    spare = len(names) >= 3 and protocol == "folds"
    return [
        (fold, set(names) - {fold} - ({names[(at + 1) % len(names)]} if spare else set()))
        for at, fold in enumerate(names)
    ]


def _check_drawn(manifest: Manifest, targets: Targets, protocol: str, absent_classes: AbsentClasses) -> None:
    grouped = "group" in manifest.clips
    if protocol == "leave-one-group-out" and not grouped:
        raise ManifestError(f"{manifest.name}: protocol {protocol!r} needs a 'group' column; the manifest has none")
    noun = "group" if grouped else "clip"
    groups = clip_groups(manifest)
    n_groups = len(np.unique(groups))
    least = N_FOLDS if protocol == "kfold" else MIN_GROUPS
    if n_groups < least:
        ways_out = "leave-one-group-out or holdout" if n_groups >= MIN_GROUPS else "a `split` column"
        raise ManifestError(
            f"{manifest.name}: {n_groups} {noun}s are too few for protocol {protocol!r} ({least}); use {ways_out}"
        )
    held = {
        label: len(np.unique(groups[members])) for label, members in zip(targets.names, targets.members.T, strict=True)
    }
    small = [label for label, count in held.items() if count < MIN_GROUPS]
    if small and absent_classes == "error":
        raise ManifestError(
            f"{manifest.name}: label {small[0]!r} has {held[small[0]]} {noun}(s); protocol {protocol!r} needs "
            f"{MIN_GROUPS} of each label, one each to train, validate and test on{listed(small)}; "
            f"{class_sizes_advice(small, None if grouped else MIN_GROUPS)}"
        )
    if protocol == "kfold" and np.bincount(strata(targets)).max() < N_FOLDS:
        few = "no fifth of the values" if targets.task == "regression" else "no label"
        raise ManifestError(
            f"{manifest.name}: {few} has {N_FOLDS} clips, which protocol 'kfold' deals out; use 'holdout'"
        )
