"""Audit findings on labels and splits: planted leaks are found, drawn splits have none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.manifest import Manifest
from heads.splits.groups import clip_groups
from heads.splits.protocol import Split, Splits, make_splits
from pipeline.audit.findings import KINDS, Finding, finding
from pipeline.audit.leaks import (
    across,
    audio_findings,
    group_findings,
    label_counts,
    label_findings,
    label_texts,
    overlap_findings,
    parted_groups,
    same_audio,
    sides_of,
    split_sizes,
)


def corpus(n: int = 40, **columns: list) -> Manifest:
    """`n` clips of two alternating classes."""
    ids = [f"{number:03d}.wav" for number in range(n)]
    table = {"id": ids, "path": ids, "label": ["a" if number % 2 else "b" for number in range(n)], **columns}
    return Manifest("birds", Path(), pd.DataFrame(table))


def overlaps(manifest: Manifest, protocol: str, keys: list[str], strict: bool = False) -> list[Finding]:
    splits = make_splits(manifest, protocol, keys=keys)
    return overlap_findings(manifest, splits, keys, sides_of(splits, len(manifest)), strict=strict)


KEYS = [f"key {number}" for number in range(40)]


@pytest.mark.parametrize(("strict", "severity"), [(False, "warning"), (True, "error")])
def test_official_splits_that_share_groups_or_audio_are_reported_with_counts(strict: bool, severity: str) -> None:
    folds = [number // 2 % 5 for number in range(40)]
    groups = [f"g{number}" for number in range(40)]
    groups[0] = groups[2] = "shared"  # folds 0 and 1
    keys = [*KEYS[:4], KEYS[1], *KEYS[5:]]  # clip 4, fold 2, has the audio of clip 1, fold 0
    by_group, by_audio = overlaps(corpus(fold=folds, group=groups), "folds", keys, strict)
    assert (by_group.kind, by_group.severity, by_group.count, by_group.items) == (
        "group-overlap",
        severity,
        1,
        ("shared",),
    )
    assert (by_audio.kind, by_audio.severity, by_audio.items) == ("audio-overlap", severity, (["001.wav", "004.wav"],))
    assert "1 groups ('shared', of 39) with 2 clips" in by_group.message


@pytest.mark.parametrize("protocol", ["kfold", "holdout", "leave-one-group-out", "few-shot"])
def test_drawn_splits_keep_groups_and_identical_audio_whole(protocol: str) -> None:
    groups = [f"g{number // 4}" for number in range(40)]
    keys = [*KEYS[:20], KEYS[0], *KEYS[21:]]  # joins two groups
    manifest = corpus(group=groups)
    splits = make_splits(manifest, protocol, keys=keys, shots=1)
    sides = sides_of(splits, len(manifest))
    assert overlap_findings(manifest, splits, keys, sides, strict=True) == []
    assert not any(same.across for same in same_audio(manifest, keys, sides))


def test_a_drawn_split_that_parts_a_group_is_an_error() -> None:
    manifest = corpus(group=[f"g{number // 2}" for number in range(40)])
    rows = np.arange(40)
    splits = Splits("kfold", (Split(1, rows[11:], rows[:2], rows[2:11]),), ())  # g5 is clips 10 and 11
    sides = sides_of(splits, 40)
    [parted] = overlap_findings(manifest, splits, KEYS, sides, strict=False)
    assert (parted.kind, parted.severity, parted.items) == ("parted-groups", "error", ("010.wav", "011.wav"))
    assert parted_groups(clip_groups(manifest), sides).tolist() == [5]


def test_identical_audio_with_other_labels_is_a_warning() -> None:
    manifest = corpus(fold=[number // 2 % 5 for number in range(40)])
    keys = ["", "", *KEYS[2:]]  # unreadable clips are not copies of each other
    keys[6], keys[12], keys[13] = keys[3], keys[2], keys[2]
    sides = sides_of(make_splits(manifest, "folds", keys=keys), 40)
    sets = same_audio(manifest, keys, sides)
    assert [(same.rows, same.labels, same.across) for same in sets] == [
        ((2, 12, 13), ("a", "b"), False),
        ((3, 6), ("a", "b"), True),
    ]
    noted, warned = audio_findings(manifest, sets, strict=False)
    assert (noted.kind, noted.severity, noted.count) == ("identical-audio", "note", 2)
    assert (warned.kind, warned.severity, warned.count) == ("conflicting-labels", "warning", 2)
    assert "'013.wav' (a) = '002.wav' (b)" in warned.message
    assert audio_findings(manifest, sets, strict=True)[1].severity == "error"
    assert audio_findings(manifest, [], strict=True) == []


def test_across_means_one_in_test_and_the_other_in_training() -> None:
    rows = np.arange(6)
    sides = sides_of(Splits("split", (Split("split", rows[:2], rows[2:3], rows[3:5]),), ()), 6)
    first, second = np.array([0, 0, 2, 3, 4]), np.array([1, 2, 3, 4, 5])
    assert across(sides, first, second).tolist() == [False, False, True, False, False]
    assert across(sides_of(None, 6), first, second).tolist() == [False] * 5


def test_sizes_are_those_of_the_splits_without_failed_clips() -> None:
    manifest = corpus(fold=[number // 2 % 5 for number in range(40)])
    sizes = split_sizes(manifest, make_splits(manifest, "folds", failed=[0, 4]))
    assert [(size.fold, size.train, size.valid, size.test, size.fewest) for size in sizes] == [
        (0, 23, 8, 7, 11),
        (1, 23, 7, 8, 11),
        (2, 23, 8, 7, 11),
        (3, 22, 8, 8, 10),
        (4, 23, 7, 8, 11),
    ]
    shots = split_sizes(manifest, make_splits(manifest, "few-shot", shots=2, draws=3))
    assert len(shots) == 15 and {size.draw for size in shots} == {0, 1, 2}
    assert {(size.train, size.fewest) for size in shots} == {(4, 2)}
    assert split_sizes(manifest, None) == []


def test_labels_of_unequal_size_are_a_warning_from_ten_to_one() -> None:
    assert label_findings(corpus(33, label=["a"] * 30 + ["b"] * 3))[0].items == ("b",)
    assert label_findings(corpus(34, label=["a"] * 30 + ["b"] * 4)) == []
    assert not group_findings(corpus(4, group=["x"] * 4)) and group_findings(corpus(4))[0].severity == "note"


def test_multi_label_and_regression_labels_are_counted() -> None:
    tags = corpus(3, label=[["rain", "wind"], ["rain"], []])
    counts = label_counts(tags)
    assert counts is not None and counts.to_dict() == {"rain": 2, "wind": 1}
    assert label_texts(tags) == ["rain+wind", "rain", ""]
    numbers = corpus(3, label=[1.5, 2.0, 2.25])
    assert label_counts(numbers) is None and label_findings(numbers) == []
    assert label_texts(numbers) == ["1.5", "2", "2.25"]


def test_every_kind_is_no_milder_under_strict() -> None:
    order = ("note", "warning", "error")
    for kind, (usual, strict) in KINDS.items():
        assert order.index(strict) >= order.index(usual), kind
        assert finding(kind, "x", strict=True).severity == strict
