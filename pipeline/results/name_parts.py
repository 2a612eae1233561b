"""Cut file names into parts, and write the pattern that reads some of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.datasets.naming import parse_pattern

SHOWN = 3
_SEPARATORS = re.compile(r"([_\-. ]+)")


@dataclass(frozen=True)
class Part:
    """One part of the names: its place, its number from 1, and its value in each file."""

    at: int
    number: int
    values: tuple[str, ...]

    @property
    def kind(self) -> int:
        """0: letters, 1: letters and digits, 2: digits."""
        return 2 if all(v.isdigit() for v in self.values) else 0 if all(v.isalpha() for v in self.values) else 1

    def example(self) -> str:
        """Some values."""
        known = sorted({*self.values})
        return ", ".join(known[:SHOWN]) + (" …" if len(known) > SHOWN else "")


@dataclass(frozen=True)
class NameParts:
    """All file names, cut into the same parts.

    Attributes:
        columns: The parts, each with its value in every name.
        separated: Whether every second part is a separator.
    """

    columns: list[tuple[str, ...]]
    separated: bool

    @property
    def parts(self) -> list[Part]:
        """The parts that can hold something."""
        step = 2 if self.separated else 1
        return [Part(at, at // step + 1, self.columns[at]) for at in range(0, len(self.columns), step)]

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


def stem_of(path: str) -> str:
    """Return the name of a file without its folders and its extension."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def cut(paths: Sequence[str]) -> NameParts | None:
    """Cut all names into the same parts: at separators, at the first one, or where letters and digits meet."""
    stems = [stem_of(path) for path in paths]
    for how, separated in ((_by_separators, True), (_by_first_separator, True), (_by_runs, False)):
        parts = how(stems)
        if parts is not None:
            return NameParts([tuple(part[at] for part in parts) for at in range(len(parts[0]))], separated)
    return None


def _by_separators(stems: Sequence[str]) -> list[list[str]] | None:
    """Cut names at separators, if all have the same ones: [part, separator, part, …]."""
    parts = [_SEPARATORS.split(stem) for stem in stems]
    if len({tuple(part[1::2]) for part in parts}) > 1 or len(parts[0]) < 3:
        return None
    return parts if all(all(part[::2]) for part in parts) else None


def _by_first_separator(stems: Sequence[str]) -> list[list[str]] | None:
    """Cut names in two at the first separator, if it is the same in all."""
    parts = [_SEPARATORS.split(stem, maxsplit=1) for stem in stems]
    if any(len(part) != 3 or not part[0] or not part[2] for part in parts) or len({part[1] for part in parts}) > 1:
        return None
    return parts


def _by_runs(stems: Sequence[str]) -> list[list[str]] | None:
    """Cut names where letters and digits meet, if all have the same order of them."""
    parts = [re.findall(r"[^\W\d_]+|\d+", stem) for stem in stems]
    orders = {tuple(run.isdigit() for run in part) for part in parts}
    whole = all("".join(part) == stem for part, stem in zip(parts, stems, strict=True))
    return parts if whole and len(orders) == 1 and len(next(iter(orders))) > 1 else None
