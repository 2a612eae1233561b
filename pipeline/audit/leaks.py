"""Find leaks between splits (shared groups, identical audio) and count the clips of each split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.labels import similar_labels
from features.manifest import Manifest
from heads.splits.feasibility import base_protocol, official_overlaps, official_sides
from heads.splits.groups import clip_groups, spread, unique_keys
from heads.splits.protocol import Splits
from heads.splits.targets import targets_of
from pipeline.audit.findings import Finding, finding

TRAIN, VALID, TEST = 1, 2, 3  # sides of a split; 0: not in the split
IMBALANCE = 10  # ratio of largest to smallest class from which accuracy alone misleads


@dataclass(frozen=True)
class SameAudio:
    """Clips with identical audio under different ids.

    Attributes:
        rows: Their positions in the manifest.
        labels: Their distinct labels, sorted.
        across: Whether one is in the test set and another in training or validation of the same split.
    """

    rows: tuple[int, ...]
    labels: tuple[str, ...]
    across: bool


@dataclass(frozen=True)
class SplitSize:
    """Numbers of training, validation and test clips of one split.

    Attributes:
        fold: The test fold.
        draw: Number of the draw, if a protocol repeats a fold with different training clips.
        train: Training clips.
        valid: Validation clips.
        test: Test clips.
        fewest: Training clips of the rarest class; None for regression.
    """

    fold: int | str
    draw: int
    train: int
    valid: int
    test: int
    fewest: int | None


def label_counts(manifest: Manifest) -> pd.Series | None:
    """Return the number of clips per label, the most frequent first; None for regression."""
    targets = targets_of(manifest)
    if targets.task == "regression":
        return None
    counts = pd.Series(targets.members.sum(axis=0), index=list(targets.names))
    return counts.sort_values(ascending=False, kind="stable")


def label_texts(manifest: Manifest) -> list[str]:
    """Return each clip's label as text: a class, several classes joined by `+`, or a number."""
    labels = manifest.clips["label"]
    if manifest.task == "multi-label":
        return ["+".join(names) for names in labels]
    return [f"{value:g}" for value in labels] if manifest.task == "regression" else labels.tolist()


def sides_of(splits: Splits | None, n_rows: int) -> np.ndarray:
    """Return the side of each row in each split, shape (S, N) int8: 0, `TRAIN`, `VALID` or `TEST`."""
    parts = splits.splits if splits else ()
    sides = np.zeros((len(parts), n_rows), dtype=np.int8)
    for at, split in enumerate(parts):
        for side, rows in ((TRAIN, split.train), (VALID, split.valid), (TEST, split.test)):
            sides[at, rows] = side
    return sides


def across(sides: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which pairs have one row in test and the other in training or validation, shape (P,) bool."""
    crossing = np.zeros(len(first), dtype=bool)
    for side in sides:
        one, other = side[first], side[second]
        crossing |= (one != other) & (one > 0) & (other > 0) & ((one == TEST) | (other == TEST))
    return crossing


def same_audio(manifest: Manifest, keys: Sequence[str], sides: np.ndarray) -> list[SameAudio]:
    """Return the clips that share a content key, one entry per key, in manifest order."""
    labels = np.array(label_texts(manifest), dtype=object)
    codes = pd.factorize(unique_keys(keys))[0]
    order = np.argsort(codes, kind="stable")
    bounds = np.cumsum(np.bincount(codes))[:-1]
    sets = []
    for rows in np.split(order, bounds):
        if len(rows) > 1:
            tested = (sides[:, rows] == TEST).any(axis=1)
            learnt = np.isin(sides[:, rows], (TRAIN, VALID)).any(axis=1)
            distinct = tuple(sorted(set(labels[rows])))
            sets.append(SameAudio(tuple(rows.tolist()), distinct, bool((tested & learnt).any())))
    return sets


def split_sizes(manifest: Manifest, splits: Splits | None) -> list[SplitSize]:
    """Return the size of every side of every split."""
    targets = targets_of(manifest)
    sizes = []
    for split in splits.splits if splits else ():
        trained = targets.members[split.train].sum(axis=0)
        fewest = int(trained.min()) if len(trained) else None
        sizes.append(SplitSize(split.fold, split.draw, len(split.train), len(split.valid), len(split.test), fewest))
    return sizes


def overlap_findings(
    manifest: Manifest, splits: Splits, keys: Sequence[str], sides: np.ndarray, *, strict: bool
) -> list[Finding]:
    """Return findings on groups and identical audio shared by the sides of a split.

    Sharing is a warning in an official split, or an error under `strict`. In a split drawn by this program it is
    always an error.
    """
    base = base_protocol(manifest, splits.protocol)
    shared, every = official_overlaps(manifest, base), official_overlaps(manifest, base, keys)
    found = []
    for sentence in shared:
        groups = spread(manifest.clips["group"].to_numpy(), official_sides(manifest, base)).tolist()
        found.append(finding("group-overlap", sentence, strict=strict, count=len(groups), items=groups))
    for sentence in every[len(shared) :]:
        ids, pieces = manifest.clips["id"], unique_keys(keys)
        repeated = spread(pieces, official_sides(manifest, base))
        sets = [ids[pieces == piece].tolist() for piece in repeated]
        found.append(finding("audio-overlap", sentence, strict=strict, count=len(sets), items=sets))
    if every:
        return found
    parted = parted_groups(clip_groups(manifest, keys), sides)
    if len(parted):
        rows = np.isin(clip_groups(manifest, keys), parted)
        found.append(
            finding(
                "parted-groups",
                f"{manifest.name}: {len(parted)} group(s) with {int(rows.sum())} clips are on more than one side of "
                f"a split drawn by protocol {splits.protocol!r}, which should keep them whole",
                count=len(parted),
                items=manifest.clips["id"][rows].tolist(),
            )
        )
    return found


def parted_groups(groups: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return the groups with rows on two or more sides of one split, sorted."""
    parted: set[int] = set()
    for side in sides:
        used = side > 0
        parted |= set(spread(groups[used], side[used]).astype(np.int64).tolist())
    return np.array(sorted(parted), dtype=np.int64)


def audio_findings(manifest: Manifest, sets: Sequence[SameAudio], *, strict: bool) -> list[Finding]:
    """Return findings on identical audio under different ids, and on its contradicting labels."""
    if not sets:
        return []
    ids, labels = manifest.clips["id"].tolist(), label_texts(manifest)
    listed = [[ids[row] for row in same.rows] for same in sets]
    clips = sum(len(same) for same in listed)
    found = [
        finding(
            "identical-audio",
            f"{manifest.name}: {len(sets)} piece(s) of audio occur under {clips} different ids, "
            f"first {' = '.join(map(repr, listed[0][:2]))}",
            count=len(sets),
            items=listed,
        )
    ]
    contrary = [same for same in sets if len(same.labels) > 1]
    if contrary:
        rows = dict(reversed([(labels[row], row) for row in contrary[0].rows]))  # the first row of each label
        example = " = ".join(f"{ids[rows[label]]!r} ({label})" for label in contrary[0].labels[:2])
        found.append(
            finding(
                "conflicting-labels",
                f"{manifest.name}: {len(contrary)} piece(s) of audio have more than one label, first "
                f"{example}: no model can predict both correctly",
                strict=strict,
                count=len(contrary),
                items=[[ids[row] for row in same.rows] for same in contrary],
            )
        )
    return found


def similar_label_findings(manifest: Manifest) -> list[Finding]:
    """Return a finding if labels differ only by case or blanks."""
    sets = similar_labels(manifest.label_counts)
    if not sets:
        return []
    return [finding("similar-labels", manifest.similar_labels, count=len(sets), items=sets)]


def label_findings(manifest: Manifest) -> list[Finding]:
    """Return a finding if class sizes are very unequal."""
    counts = label_counts(manifest)
    if counts is None:
        return []
    most, fewest = int(counts.iloc[0]), int(counts.iloc[-1])
    small = [str(name) for name, count in counts.items() if count * IMBALANCE <= most]
    if not small:
        return []
    return [
        finding(
            "imbalance",
            f"{manifest.name}: {counts.index[0]!r} has {most} clips, {counts.index[-1]!r} has {fewest}: "
            "accuracy hides the small classes; read macro F1 and the accuracy per class",
            count=len(small),
            items=small,
        )
    ]


def group_findings(manifest: Manifest) -> list[Finding]:
    """Return a finding if there are no groups for drawn splits to keep whole."""
    if "group" in manifest.clips:
        return []
    return [
        finding(
            "groups",
            f"{manifest.name}: the manifest has no `group` column; clips of one recording or speaker on both sides "
            "of a split make scores too high, and this audit cannot detect it",
        )
    ]
