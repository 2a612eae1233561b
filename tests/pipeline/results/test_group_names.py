"""Groups that file names suggest, and names that suggest none."""

import re

import pandas as pd
import pytest

from features.manifest import Manifest
from pipeline.results.group_names import groups_in_names

SPEAKERS = ("ann", "bo", "cy")
DIGITS = [(f"{digit}_{who}_{take}.wav", str(digit)) for digit in range(5) for who in SPEAKERS for take in range(4)]
RAVDESS = [
    (f"03-01-0{mood}-01-0{words}-01-{actor:02d}.wav", f"mood{mood}")
    for mood in (1, 2, 3)
    for words in (1, 2)
    for actor in range(1, 9)
]
NUMBERED = [(f"{label}/{take:03d}.wav", label) for label in ("dog", "rain", "siren") for take in range(20)]
RECORDINGS = [
    (f"{1000 * number + take // 3}-{number}-0-{take % 3}.wav", label)
    for number, label in enumerate(("dog", "siren"))
    for take in range(12)
]


def manifest(rows, **columns):
    paths, labels = zip(*rows, strict=True)
    return Manifest("toy", ".", pd.DataFrame({"id": paths, "path": paths, "label": labels, **columns}))


@pytest.mark.parametrize(
    ("rows", "place", "count", "example"), [(DIGITS, 2, 3, "ann"), (RAVDESS, 7, 8, "01"), (RECORDINGS, 1, 8, "1000")]
)
def test_speakers_in_every_class_and_recordings_within_one_are_groups(rows, place, count, example):
    found = groups_in_names(manifest(rows))[0]
    assert (found.place, found.count) == (place, count)
    assert example in [part for name, _ in rows for part in re.split("[-_]", name)] and len(found.examples) == 3


@pytest.mark.parametrize("rows", [NUMBERED, [(f"{n}.wav", "ab"[n % 2]) for n in range(20)]])
def test_numbers_of_clips_are_not(rows):
    assert groups_in_names(manifest(rows)) == []


def test_known_groups_are_not_guessed():
    assert groups_in_names(manifest(DIGITS, group=[name.split("_")[1] for name, _ in DIGITS])) == []


def test_only_letters_and_digits_are_shown():
    rows = [(f"{who}<b>_{label}.wav", label) for who in SPEAKERS for label in "xyz" for _ in range(3)]
    rows = [(f"{at}_{name}", label) for at, (name, label) in enumerate(rows)]
    found = groups_in_names(manifest(rows))[0]
    assert found.count == 3 and all(example.isalnum() for example in found.examples)


def test_the_text_gives_the_line_that_reads_the_groups():
    (found,) = groups_in_names(manifest(DIGITS))
    assert found.pattern == "{}_{group}_{}"
    first = "The file names suggest 3 groups: ann, bo, cy. If they are speakers or recordings, "
    assert found.text().startswith(first + "set dataset.pattern to '{}_{group}_{}'; otherwise")
    assert found.text(with_pattern=False).startswith(first + "list the clips in a table with a column named group")


def test_names_with_unlike_separators_give_groups_without_a_pattern():
    rows = [
        (f"{digit}{'-' if take % 2 else '_'}{who} {take}{'' if take % 3 else ' x'}.wav", label)
        for digit, label in enumerate("abcde")
        for who in SPEAKERS
        for take in range(4)
    ]
    (found,) = groups_in_names(manifest(rows))
    assert (found.count, found.pattern, found.place) == (3, None, 2)


def test_parts_that_keep_to_the_folds_are_no_groups():
    folds = [SPEAKERS.index(name.split("_")[1]) for name, _ in DIGITS]
    assert groups_in_names(manifest(DIGITS, fold=folds)) == []
    assert groups_in_names(manifest(DIGITS, fold=[n % 2 for n in range(len(DIGITS))]))[0].count == 3
