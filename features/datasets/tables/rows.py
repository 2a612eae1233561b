"""Complete the rows of one or several tables: segments, ids, splits, and rows that contradict each other."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

from features.errors import ManifestError
from features.manifest import SPLIT_ALIASES, SPLITS

if TYPE_CHECKING:
    import pandas as pd

SECONDS = ("start_s", "end_s", "duration_s")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a row was read.

    Attributes:
        file: The table.
        row: The row, such as `line 3`.
        named: Whether there are several tables, so that the file has to be named.
    """

    file: Path
    row: str
    named: bool

    def __str__(self) -> str:
        """`line 3`, or `dev.csv line 3`."""
        return f"{self.file} {self.row}" if self.named else self.row


def to_seconds(file: Path, table: pd.DataFrame, names: Mapping[str, str]) -> None:
    """Replace ends by durations; a decimal comma in a cell is read as a point.

    Args:
        file: The table's file, for messages.
        table: Columns `start_s`, `end_s`, `duration_s`, if known; the index names the rows. `end_s` is removed.
        names: Role -> name of the column in the file, for messages.

    Raises:
        ManifestError: A cell is no number, or a segment ends before it starts.
    """
    import pandas as pd

    for role in SECONDS:
        if role in table:
            table[role] = pd.Series([_point(cell) for cell in table[role]], table.index, dtype=object)
    if "end_s" not in table:
        return
    ends = table.pop("end_s")
    starts = table["start_s"] if "start_s" in table else [0.0] * len(table)
    durations: list[object] = []
    for place, start, end in zip(table.index, starts, ends, strict=True):
        first, last = (_number(file, place, names, role, cell) for role, cell in (("start_s", start), ("end_s", end)))
        if math.isnan(last):
            durations.append(None)
            continue
        first = 0.0 if math.isnan(first) else first
        if last <= first:
            raise ManifestError(
                f"{file}: {place} ends at {last:g} s ({names['end_s']}), but starts at {first:g} s; "
                "a segment has to end after its start"
            )
        durations.append(round(last - first, 9))
    table["duration_s"] = pd.Series(durations, table.index, dtype=object)


def _point(cell: object) -> object:
    return cell.strip().replace(",", ".") if isinstance(cell, str) and re.fullmatch(r"\s*\d+,\d+\s*", cell) else cell


def _number(file: Path, place: object, names: Mapping[str, str], role: str, cell: object) -> float:
    try:
        number = math.nan if cell is None else float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.inf
    if math.isinf(number):
        raise ManifestError(f"{file}: {place} has {cell!r} as {names[role]}, not a time in seconds")
    return number


def name_rows(root: Path, table: pd.DataFrame, places: Sequence[Place]) -> pd.DataFrame:
    """Give every row an id: the one in the table, else its path, and with segments of one file their start.

    A row that repeats another is dropped with a warning.

    Raises:
        ManifestError: Two rows of one clip contradict each other.
    """
    if "id" not in table:
        table = table.assign(id=_default_ids(root, table))
    ids = [str(value) for value in table["id"]]
    clips = [(path, *_segment(table, row)) for row, path in enumerate(table["path"])]
    first: dict[object, int] = {}
    repeated: list[int] = []
    for row, clip in enumerate(clips):
        before = first.setdefault(ids[row], row)
        if before == row:
            continue
        difference = _difference(table, before, row)
        if difference or clip != clips[before]:
            raise ManifestError(_contradiction(root, places, ids[row], before, row, difference))
        repeated.append(row)
    if repeated:
        _log.warning(
            "%s: %d row(s) repeat another and are left out, first %s", root, len(repeated), places[repeated[0]]
        )
        kept = [row for row in range(len(table)) if row not in set(repeated)]
        table, clips = table.iloc[kept], [clips[row] for row in kept]
    if (twice := len(clips) - len(set(clips))) > 0:
        _log.warning("%s: %d row(s) with an id of their own list the same audio as another row", root, twice)
    return table


def _default_ids(root: Path, table: pd.DataFrame) -> list[str]:
    """Return the paths, plus the start where files are listed several times."""
    base = root.parent.absolute().as_posix()
    ids = [
        PurePosixPath(path).relative_to(base).as_posix() if PurePosixPath(path).is_relative_to(base) else path
        for path in table["path"]
    ]
    inside = [re.sub(r"^(\.\./)+", "", path) for path in ids]  # audio beside the table's folder
    ids = inside if len({*inside}) == len({*ids}) else ids
    if "start_s" not in table or len({*ids}) == len(ids):
        return ids
    with_start = [f"{path}@{_shown(start)}" for path, start in zip(ids, table["start_s"], strict=True)]
    if "duration_s" not in table or len(set(with_start)) == len(with_start):
        return with_start
    count = Counter(with_start)
    return [
        f"{name}+{_shown(duration)}" if count[name] > 1 else name
        for name, duration in zip(with_start, table["duration_s"], strict=True)
    ]


def _segment(table: pd.DataFrame, row: int) -> tuple[str, ...]:
    return tuple(_shown(table[role].iat[row]) for role in ("start_s", "duration_s") if role in table)


def _shown(seconds: object) -> str:
    try:
        return "0" if _empty(seconds) else f"{float(seconds):.9g}"  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(seconds)


def _difference(table: pd.DataFrame, one: int, other: int) -> str:
    """Describe the first difference of two rows; empty if they agree."""
    for role in ("path", "label", "fold", "split", "group", *SECONDS):
        if role in table:
            mine, its = (cast(object, table[role].iat[row]) for row in (one, other))
            if mine != its and not (_empty(mine) and _empty(its)):
                return f"{role} {mine!r} and {its!r}"
    return ""


def _empty(cell: object) -> bool:
    return cell is None or cell != cell


def _contradiction(root: Path, places: Sequence[Place], clip: str, one: int, other: int, difference: str) -> str:
    return (
        f"{root}: duplicate id {clip!r}: {places[one]} and {places[other]} disagree ({difference}); keep one of them, "
        "give each row its own `id`, or list several labels of one clip in one row"
    )


def splits_of_tables(table: pd.DataFrame, files: Sequence[Path]) -> None:
    """Read the split of rows without one from the name of their table, such as `train.csv` and `test.csv`."""
    names = {file: _split_in_name(file) for file in files}
    given = table["split"].tolist() if "split" in table else [None] * len(table)
    missing = {place.file for place, split in zip(table["place"], given, strict=True) if _empty(split)}
    if not missing:
        return
    if any(names[file] is None for file in missing) or ("split" not in table and len(set(names.values())) < 2):
        if "split" in table:
            shown = ", ".join(str(file) for file in sorted(missing))
            _log.warning("%s: no split for some rows, so the splits of the other tables are not used", shown)
            del table["split"]
        return
    if "split" not in table and "train" not in names.values():  # development and evaluation set
        names = {file: "train" if split == "valid" else split for file, split in names.items()}
    table["split"] = [
        names[place.file] if _empty(split) else split for place, split in zip(table["place"], given, strict=True)
    ]


def _split_in_name(file: Path) -> str | None:
    words = re.split(r"[\W_\d]+", file.stem.lower())
    found = {SPLIT_ALIASES.get(word, "test" if word in ("eval", "evaluation") else word) for word in words} & {*SPLITS}
    return found.pop() if len(found) == 1 else None
