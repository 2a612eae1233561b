"""What a corpus must have before a protocol can divide it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.errors import ConfigError, ManifestError
from features.manifest import SPLITS, Manifest
from heads.fold_names import fold_names, natural_order
from heads.groups import clip_groups, spread, unique_keys

PROTOCOLS = ("folds", "split", "holdout", "kfold", "leave-one-group-out")
N_FOLDS = 5  # of `kfold`
MIN_GROUPS = 3  # of each label in a drawn protocol: train, valid and test need one each


def resolve_protocol(manifest: Manifest, protocol: str) -> str:
    """Say which protocol `auto` stands for: `folds` if the manifest has them, else `split`, else `kfold`.

    Raises:
        ConfigError: An unknown protocol.
    """
    if protocol == "auto":
        return "folds" if "fold" in manifest.clips else "split" if "split" in manifest.clips else "kfold"
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol: unknown {protocol!r}; use auto, {', '.join(PROTOCOLS)}")
    return protocol


def check_protocol(manifest: Manifest, protocol: str) -> None:
    """Refuse, before any work, a corpus that the protocol cannot divide.

    Args:
        manifest: The labelled clips.
        protocol: Any of `PROTOCOLS`, or `auto`.

    Raises:
        ConfigError: An unknown protocol.
        ManifestError: One label only; a missing `fold`, `split` or `group` column; a fold or split
            with one class; a label that occurs in one fold or split only, or that some test leaves
            without training clips; too few groups (or clips, where there are none) of a label.
    """
    protocol = resolve_protocol(manifest, protocol)
    if len(manifest.labels) < 2:
        raise ManifestError(f"{manifest.name}: every clip has the label {manifest.labels[0]!r}; a classifier needs two")
    if protocol in ("folds", "split"):
        _check_official(manifest, protocol)
    else:
        _check_drawn(manifest, protocol)


def official_sides(manifest: Manifest, protocol: str) -> np.ndarray:
    """The official fold or split of each row, shape (N,), dtype object.

    Raises:
        ManifestError: The manifest has no such column.
    """
    column = "fold" if protocol == "folds" else "split"
    if column not in manifest.clips:
        raise ManifestError(f"{manifest.name}: protocol {protocol!r} needs a {column!r} column; the manifest has none")
    return fold_names(manifest.clips[column])


def official_overlaps(manifest: Manifest, protocol: str, keys: Sequence[str] | None = None) -> tuple[str, ...]:
    """Say what the sides of an official division share: groups, and identical audio.

    Args:
        manifest: The labelled clips.
        protocol: `folds` or `split`; any other shares nothing by construction.
        keys: Content key of each row's audio, "" where unknown; None compares no audio.

    Returns:
        One sentence with counts for each kind of overlap.
    """
    if protocol not in ("folds", "split"):
        return ()
    sides = official_sides(manifest, protocol)
    noun = "folds" if protocol == "folds" else "splits"
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


def _check_official(manifest: Manifest, protocol: str) -> None:
    sides = official_sides(manifest, protocol)
    labels = manifest.clips["label"].to_numpy()
    names = natural_order(sides)
    noun = "fold" if protocol == "folds" else "split"
    if protocol == "split" and not {"train", "test"} <= set(names):
        absent = "test" if "train" in names else "train"
        raise ManifestError(
            f"{manifest.name}: no clip has split {absent!r}; the column holds {', '.join(map(str, names))}"
        )
    if len(names) < 2:
        raise ManifestError(f"{manifest.name}: every clip is in fold {names[0]!r}; protocol 'folds' needs two or more")
    where: dict[str, set[int | str]] = {label: set(sides[labels == label]) for label in manifest.labels}
    for label, found in where.items():
        if len(found) == 1:
            raise ManifestError(
                f"{manifest.name}: label {label!r} occurs in {noun} {found.pop()!r} only; "
                f"give it clips in other {noun}s or leave it out"
            )
    for name in names:
        classes = np.unique(labels[sides == name])
        if len(classes) == 1:
            raise ManifestError(
                f"{manifest.name}: {noun} {name!r} holds one class only, {classes[0]!r}; it needs two or more"
            )
    for fold, training in training_sides(protocol, names):
        for label, found in where.items():
            if not found & training:
                raise ManifestError(
                    f"{manifest.name}: label {label!r} has no training clip when {noun} {fold!r} is tested "
                    f"(it occurs in {', '.join(repr(name) for name in natural_order(found))})"
                )


def training_sides(protocol: str, names: Sequence[int | str]) -> list[tuple[int | str, set[int | str]]]:
    """For each tested side of an official division, the sides that it trains on.

    `folds` validates on the fold after the tested one, cyclic; with fewer than three folds none is
    left for that, and validation rows are drawn from the training rows.
    """
    if protocol == "split":
        return [(SPLITS[2], {SPLITS[0]})]
    spare = len(names) >= 3
    return [
        (fold, set(names) - {fold} - ({names[(at + 1) % len(names)]} if spare else set()))
        for at, fold in enumerate(names)
    ]


def _check_drawn(manifest: Manifest, protocol: str) -> None:
    grouped = "group" in manifest.clips
    if protocol == "leave-one-group-out" and not grouped:
        raise ManifestError(f"{manifest.name}: protocol {protocol!r} needs a 'group' column; the manifest has none")
    noun = "group" if grouped else "clip"
    groups = clip_groups(manifest)
    labels = manifest.clips["label"].to_numpy()
    n_groups = len(np.unique(groups))
    least = N_FOLDS if protocol == "kfold" else MIN_GROUPS
    if n_groups < least:
        ways_out = "leave-one-group-out or holdout" if n_groups >= MIN_GROUPS else "a `split` column"
        raise ManifestError(
            f"{manifest.name}: {n_groups} {noun}s are too few for protocol {protocol!r} ({least}); use {ways_out}"
        )
    for label in manifest.labels:
        held = len(np.unique(groups[labels == label]))
        if held < MIN_GROUPS:
            raise ManifestError(
                f"{manifest.name}: label {label!r} has {held} {noun}(s); protocol {protocol!r} needs {MIN_GROUPS} of "
                f"each label, one each to train, validate and test on"
            )
    if protocol == "kfold" and max(np.unique(labels, return_counts=True)[1]) < N_FOLDS:
        raise ManifestError(
            f"{manifest.name}: no label has {N_FOLDS} clips, which protocol 'kfold' deals out; use 'holdout'"
        )
