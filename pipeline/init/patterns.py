"""Notice what file names hold: naming schemes in use, and fields that could be label, group or fold."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from features.datasets.naming import parse_pattern
from features.datasets.ravdess import EMOTIONS

MOST_CLASSES = 100
FEWEST_GROUPS = 3  # needed to train, validate and test
FEWEST_CLIPS = 2  # mean number of clips per value of a field that is worth a proposal


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


@dataclass(frozen=True)
class _Field:
    """One part of the names: its place, the value in each file, and how it is written in a pattern."""

    at: int
    values: tuple[str, ...]

    @property
    def kind(self) -> int:
        """0: letters, 1: letters and digits, 2: digits."""
        return 2 if all(v.isdigit() for v in self.values) else 0 if all(v.isalpha() for v in self.values) else 1

    def example(self) -> str:
        """Some values."""
        known = sorted({*self.values})
        return ", ".join(known[:3]) + (" …" if len(known) > 3 else "")


@dataclass(frozen=True)
class _Names:
    """All file names, cut into the same parts.

    Attributes:
        columns: The parts, each with its value in every name.
        separated: Whether every second part is a separator.
    """

    columns: list[tuple[str, ...]]
    separated: bool

    @property
    def fields(self) -> list[_Field]:
        """The parts that can hold something."""
        step = 2 if self.separated else 1
        return [_Field(at, self.columns[at]) for at in range(0, len(self.columns), step)]

    def pattern(self, names: Mapping[int, str]) -> str:
        """Write the pattern that gives some parts these names; a regular expression if parts have no fixed width."""
        if self.separated:
            return "".join(
                column[0] if at % 2 else f"{{{names.get(at, '')}}}" for at, column in enumerate(self.columns)
            )
        widths = [{len(value) for value in column} for column in self.columns]
        if all(len(width) == 1 for width in widths[:-1]):
            fixed = [f":{min(width)}" if len(width) == 1 else "" for width in widths]
            return "".join(f"{{{names.get(at, '')}{width}}}" for at, width in enumerate(fixed))
        runs = [r"\d+" if column[0].isdigit() else r"[^\W\d_]+" for column in self.columns]
        body = "".join(f"(?P<{names[at]}>{run})" if at in names else run for at, run in enumerate(runs))
        return rf"(?:^|/){body}\.\w+$"

    def checked(self, paths: Sequence[str], names: Mapping[int, str]) -> str | None:
        """Return the pattern if it reads what it should from every path."""
        pattern = self.pattern(names)
        found, unmatched = parse_pattern(pattern).read_all(paths)
        rows = [{name: self.columns[at][row] for at, name in names.items()} for row in range(len(paths))]
        return pattern if not unmatched and found == rows else None


def known_scheme(paths: Sequence[str]) -> Guess | None:
    """Return the naming scheme in use that all file names follow."""
    stems = [_stem(path) for path in paths]
    for scheme in SCHEMES:
        if all(map(scheme.stem.fullmatch, stems)):
            return Guess(scheme.pattern, f"names as in {scheme.name} ({scheme.meaning})", scheme.labels)
    return None


def guess_labels(paths: Sequence[str]) -> list[Guess]:
    """Return patterns that read a label, and a group if there is one, from names of unlabelled files; best first."""
    names = _cut(paths)
    if names is None:
        return []
    candidates = [field for field in names.fields if _could_be_label(field)]
    candidates.sort(key=lambda field: (field.kind, -mean(map(len, field.values)), field.at))
    guesses = []
    for label in candidates:
        groups = _groups(names.fields, label.values, skip=label.at)
        what = f"{len({*label.values})} classes ({label.example()})"
        if groups:
            what += f" and {len({*groups[0].values})} groups ({groups[0].example()})"
        pattern = names.checked(paths, {label.at: "label"} | ({groups[0].at: "group"} if groups else {}))
        if pattern is not None:
            guesses.append(Guess(pattern, f"{what} in the file names"))
    return guesses


def guess_groups(paths: Sequence[str], labels: Sequence[str]) -> list[Guess]:
    """Return patterns that read a group from the names of labelled files; best first."""
    names = _cut(paths)
    guesses = []
    for field in _groups(names.fields, labels) if names is not None else []:
        classes = defaultdict(set)
        for value, label in zip(field.values, labels, strict=True):
            classes[value].add(label)
        counts = sorted(map(len, classes.values()))
        where = f"{counts[0]} to {counts[-1]}" if counts[0] < counts[-1] else f"{counts[0]}"
        what = (
            f"{len(classes)} values ({field.example()}) at one place in the file names, each in {where} of "
            f"{len({*labels})} classes. If they are speakers or recordings, this keeps each of them whole; without it, "
            "the same one is in training and test, and scores are too high"
        )
        if (pattern := names.checked(paths, {field.at: "group"})) is not None:  # type: ignore[union-attr]
            guesses.append(Guess(pattern, what))
    return guesses


def _could_be_label(field: _Field) -> bool:
    counts = Counter(field.values)
    most = min(MOST_CLASSES, len(field.values) // 3)
    return 2 <= len(counts) <= most and sum(count > 1 for count in counts.values()) >= 0.9 * len(counts)


def _groups(fields: Sequence[_Field], labels: Sequence[str], skip: int | None = None) -> list[_Field]:
    """Return the fields whose values recur across classes; words first, then the leftmost."""
    found = []
    for field in fields:
        values = Counter(field.values)
        if field.at == skip or len(values) < FEWEST_GROUPS or len(field.values) < FEWEST_CLIPS * len(values):
            continue
        pairs = Counter(zip(field.values, labels, strict=True))
        classes = Counter(value for value, _ in pairs)
        crossing = sum(count > 1 for count in classes.values()) >= 0.8 * len(values)
        running_number = field.kind == 2 and max(pairs.values()) == 1
        if crossing and not running_number:
            found.append(field)
    return sorted(found, key=lambda field: (field.kind == 2, field.at))


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def _cut(paths: Sequence[str]) -> _Names | None:
    """Cut all names into the same parts: at separators, at the first one, or where letters and digits meet."""
    stems = [_stem(path) for path in paths]
    for cut, separated in ((_by_separators, True), (_by_first_separator, True), (_by_runs, False)):
        parts = cut(stems)
        if parts is not None:
            return _Names([tuple(part[at] for part in parts) for at in range(len(parts[0]))], separated)
    return None


def _by_separators(stems: Sequence[str]) -> list[list[str]] | None:
    """Cut names at separators, if all have the same ones: [part, separator, part, …]."""
    parts = [re.split(r"([_\-. ]+)", stem) for stem in stems]
    if len({tuple(part[1::2]) for part in parts}) > 1 or len(parts[0]) < 3:
        return None
    return parts if all(all(part[::2]) for part in parts) else None


def _by_first_separator(stems: Sequence[str]) -> list[list[str]] | None:
    """Cut names in two at the first separator, if it is the same in all."""
    parts = [re.split(r"([_\-. ]+)", stem, maxsplit=1) for stem in stems]
    if any(len(part) != 3 or not part[0] or not part[2] for part in parts) or len({part[1] for part in parts}) > 1:
        return None
    return parts


def _by_runs(stems: Sequence[str]) -> list[list[str]] | None:
    """Cut names where letters and digits meet, if all have the same order of them."""
    parts = [re.findall(r"[^\W\d_]+|\d+", stem) for stem in stems]
    orders = {tuple(run.isdigit() for run in part) for part in parts}
    whole = all("".join(part) == stem for part, stem in zip(parts, stems, strict=True))
    return parts if whole and len(orders) == 1 and len(next(iter(orders))) > 1 else None
