"""Notice what file names hold: naming schemes in use, and parts that could be the label."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from features.datasets.ravdess import EMOTIONS
from pipeline.results.group_names import rank_parts
from pipeline.results.name_parts import Part, cut, stem_of

MOST_CLASSES = 100


@dataclass(frozen=True)
class Scheme:
    """A naming scheme in use.

    Attributes:
        name: The corpus that made it known.
        stem: What every file name without extension has to match.
        pattern: The pattern that reads it.
        meaning: What the fields mean.
        labels: What the codes of the label mean.
    """

    name: str
    stem: re.Pattern[str]
    pattern: str
    meaning: str
    labels: dict[str, str]


SCHEMES = (
    Scheme(
        "RAVDESS",
        re.compile(r"0[123]-0[12]-0[1-8]-0[12]-0[12]-0[12]-\d\d"),
        "{}-{}-{label}-{}-{}-{}-{group}",
        "third number: emotion; last number: actor",
        EMOTIONS,
    ),
    Scheme(
        "EMO-DB",
        re.compile(r"\d\d[ab]\d\d[WLEAFTN][a-z]"),
        "{group:2}{:3}{label:1}{:1}",
        "first two digits: speaker; first letter after the text: emotion",
        {
            **{"W": "anger", "L": "boredom", "E": "disgust", "A": "fear"},
            **{"F": "happiness", "T": "sadness", "N": "neutral"},
        },
    ),
    Scheme(
        "CREMA-D",
        re.compile(r"\d{4}_[A-Z]{3}_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX)"),
        "{group}_{}_{label}_{}",
        "first number: actor; third part: emotion",
        {},
    ),
)


@dataclass(frozen=True)
class Guess:
    """A pattern that fits all file names.

    Attributes:
        pattern: The pattern.
        what: What it reads.
        labels: What the codes of the label mean, if known.
    """

    pattern: str
    what: str
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


def known_scheme(paths: Sequence[str]) -> Guess | None:
    """Return the naming scheme in use that all file names follow."""
    stems = [stem_of(path) for path in paths]
    for scheme in SCHEMES:
        if all(map(scheme.stem.fullmatch, stems)):
            return Guess(scheme.pattern, f"names as in {scheme.name} ({scheme.meaning})", scheme.labels)
    return None


def guess_labels(paths: Sequence[str]) -> list[Guess]:
    """Return patterns that read a label, and a group if there is one, from names of unlabelled files; best first."""
    names = cut(paths)
    if names is None:
        return []
    candidates = [field for field in names.parts if _could_be_label(field)]
    candidates.sort(key=lambda field: (field.kind, -mean(map(len, field.values)), field.at))
    guesses = []
    for label in candidates:
        groups = rank_parts([part for part in names.parts if part is not label], label.values)
        what = f"{len({*label.values})} classes ({label.example()})"
        if groups:
            what += f" and {len({*groups[0].values})} groups ({groups[0].example()})"
        pattern = names.checked(paths, {label.at: "label"} | ({groups[0].at: "group"} if groups else {}))
        if pattern is not None:
            guesses.append(Guess(pattern, f"{what} in the file names"))
    return guesses


def _could_be_label(field: Part) -> bool:
    counts = Counter(field.values)
    most = min(MOST_CLASSES, len(field.values) // 3)
    return 2 <= len(counts) <= most and sum(count > 1 for count in counts.values()) >= 0.9 * len(counts)
