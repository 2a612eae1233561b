"""Recordings with Raven selection tables: each selection is a clip."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from features.datasets.layouts.annotations import Annotation, LeftOut, segments
from features.datasets.layouts.rows import files_below, laid_out
from features.datasets.listing import audio_files, existing_folder, layout_error
from features.datasets.options import DatasetOptions
from features.datasets.tables.cells import read_csv
from features.errors import ManifestError
from features.manifest import Manifest

SOURCE = "selection tables are described at https://www.ravensoundsoftware.com/knowledge-base/"
START, END, FILE, OFFSET = "Begin Time (s)", "End Time (s)", "Begin File", "File Offset (s)"
LABELS = (
    *("annotation", "annotations", "label", "class", "species", "species code", "common name", "call type", "type"),
    *("sound type", "category", "tag", "tags", "id", "notes", "comment", "comments"),
)
# Columns that Raven computes itself; the others were added by people.
_COMPUTED = re.compile(
    r"selection|view|channel|begin|end|delta|low freq|high freq|peak|average|avg|max|min|rms|energy|entropy|bw|center"
    r"|freq|1st|3rd|q1|q3|iqr|snr|inband|agg|dur|length|file|occupancy|score|confidence|rank|time|power|sample|leq",
    re.IGNORECASE,
)
_ENDING = re.compile(r"(\.table\.\d+)?(\.selections)?$|\.table\.\d+$", re.IGNORECASE)
_log = logging.getLogger(__name__)


class Options(DatasetOptions):
    """Recordings with Raven selection tables (`NAME.Table.1.selections.txt`)."""

    kind: Literal["raven"] = "raven"
    label_column: str | None = Field(
        default=None, description="column with the class (default: `Annotation`, `Species` or the one that was added)"
    )


def index(root: Path, *, name: str | None = None, label_column: str | None = None) -> Manifest:
    """List the selections of all tables as segments; `group` is the recording.

    Raises:
        ManifestError: The folder is missing, has no selection table, or a table has no label or recording.
    """
    root = existing_folder(root, SOURCE)
    tables = selection_tables(root)
    if not tables:
        raise layout_error(
            root, f"Raven selection tables (.txt with the column {START!r}) and their recordings", SOURCE
        )
    recordings = audio_files(root)
    found = [one for table in tables for one in _selections(table, recordings, label_column)]
    rows = list(segments(root, found, LeftOut(root)))
    if not rows:
        raise ManifestError(f"{root}: the selection tables contain no labelled selection with a length")
    used = {one.recording for one in found}
    if without := [path for path in recordings if path not in used]:
        _log.warning(
            "%s: %d recording(s) have no selection and are left out, first %r", *(root, len(without)), without[0].name
        )
    return laid_out(name, root, rows)


def selection_tables(root: Path) -> list[Path]:
    """Return the selection tables below a folder, sorted; they are recognised by their header."""
    return sorted(path for path in files_below(root) if path.suffix.lower() in (".txt", ".tsv") and is_table(path))


def is_table(path: Path) -> bool:
    """Whether a text file has the header of a selection table."""
    with path.open("rb") as file:
        header = file.readline(10_000).decode("utf-8-sig", "replace").rstrip("\r\n").split("\t")
    return START in header and END in header


def _selections(path: Path, recordings: Sequence[Path], label_column: str | None) -> Iterator[Annotation]:
    table = read_csv(path, (START, END), separator="\t")
    column = _label_column(path, list(table.columns), label_column)
    is_list = FILE in table and OFFSET in table  # times count from the first of several files
    seen: set[object] = set()
    alone: Path | None = None
    for place, row in zip(table.index, table.to_dict("records"), strict=True):
        number = row.get("Selection")
        if number is not None and number in seen:  # one row per view of the same selection
            continue
        seen.add(number)
        try:
            begin_s, end_s = float(row[START]), float(row[END])
            start_s = float(row[OFFSET]) if is_list and row[OFFSET] is not None else begin_s
        except ValueError:
            raise ManifestError(f"{path}: {place}: {START}, {END} or {OFFSET} is not a number") from None
        if row.get(FILE) is not None:
            recording = _named(path, str(place), row[FILE], recordings)
        else:
            recording = alone = alone or _of_table(path, recordings)
        yield Annotation(
            f"{path.name} {place}", recording, start_s, start_s + end_s - begin_s, (row[column] or "").strip()
        )


def _label_column(path: Path, names: list[str], given: str | None) -> str:
    if given is not None:
        if given not in names:
            raise ManifestError(
                f"{path}: no column {given!r} (dataset.label_column); the columns are {', '.join(map(repr, names))}"
            )
        return given
    lowered = {name.lower(): name for name in reversed(names)}
    if usual := next((lowered[name] for name in LABELS if name in lowered), None):
        return usual
    added = [name for name in names if not _COMPUTED.match(name)]
    if len(added) == 1:
        return added[0]
    raise ManifestError(
        f"{path}: no column that looks like the label; the columns are {', '.join(map(repr, names))}; "
        "set dataset.label_column to one of them"
    )


def _named(path: Path, place: str, name: str, recordings: Sequence[Path]) -> Path:
    """Return the recording that a row names; the nearest one if several have this name."""
    base = re.split(r"[/\\]", name)[-1]
    fitting = [file for file in recordings if file.name == base]
    near = [file for file in fitting if file.parent == path.parent]
    if len(near or fitting) != 1:
        count = f"{len(fitting)} recordings are" if fitting else "no recording is"
        raise ManifestError(f"{path}: {place}: {count} called {base!r} below the folder; give each file its own name")
    return (near or fitting)[0]


def _of_table(path: Path, recordings: Sequence[Path]) -> Path:
    """Return the recording with the name of a table."""
    stem = _ENDING.sub("", path.stem)
    fitting = [file for file in recordings if stem in (file.stem, file.name)]
    near = [file for file in fitting if file.parent == path.parent]
    if len(near or fitting) != 1:
        count = f"{len(fitting)} recordings are" if fitting else "no recording is"
        raise ManifestError(
            f"{path}: {count} called {stem!r}; name the table after its recording, or add a column {FILE!r}"
        )
    return (near or fitting)[0]
