"""Read a user's manifest: CSV, JSON Lines or Parquet files that list clips and labels."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic import AliasChoices, ConfigDict, Field

from features.datasets.choosing.condition import Condition, meeting
from features.datasets.naming import NamePattern, PatternText, parse_pattern
from features.datasets.options import DatasetOptions
from features.datasets.tables.cells import read_cells, read_csv, require_cells
from features.datasets.tables.columns import Given, choose_columns
from features.datasets.tables.files import FoundFiles, find_files
from features.datasets.tables.rows import Place, name_rows, splits_of_tables, to_seconds
from features.errors import ManifestError
from features.labels import Task, check_alike, read_labels, read_text_cells, task_of
from features.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Options", "column_names", "existing_file", "index", "read_cells", "read_clips", "read_csv"]
SOURCE = "write a table with the columns path, label and, if known, id, fold, split, group, start_s, duration_s"
ROLES = ("id", "path", "label", "fold", "split", "group", "start_s", "end_s", "duration_s")
_log = logging.getLogger(__name__)


class Options(DatasetOptions):
    """A manifest file; its paths are relative to its own folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: Literal["csv", "jsonl", "parquet"]
    tables: list[Path] = Field(default=[], description="further tables of the same kind, read together with root")
    audio_root: Path | None = Field(
        default=None,
        description="folder to which the paths refer (default: the table's own, where files are also found by name)",
    )
    suffix: str | None = Field(
        default=None, pattern=r"^\.[^/\\]+$", description="extension of the files, for paths without one: .wav"
    )
    pattern: PatternText | None = Field(
        default=None,
        description="reads label, group, fold, split from file names: `{group}_{label}_{}.wav`, "
        "or a regular expression with `(?P<label>…)`",
    )
    id_column: str | None = Field(default=None, description="unique clip id (default: id, else the path)")
    path_column: str | None = Field(default=None, description="audio file (default: path or another usual name)")
    label_column: str | None = Field(
        default=None, description="class, list of classes or number (default: label or another usual name)"
    )
    task: Task | None = Field(
        default=None,
        description="kind of labels (default: multi-label for lists, regression for numbers that are not all whole); "
        "multi-label splits text at ; and ,",
    )
    fold_column: str | Literal[False] | None = Field(
        default=None, description="cross-validation fold (default: fold or another usual name; false: none)"
    )
    split_column: str | Literal[False] | None = Field(
        default=None, description="train, valid or test (default: split or another usual name; false: none)"
    )
    group_column: str | Literal[False] | None = Field(
        default=None, description="speaker or source recording (default: group or another usual name; false: none)"
    )
    start_column: str | Literal[False] | None = Field(
        default=None,
        validation_alias=AliasChoices("start_column", "start_s_column"),
        description="start of the clip in its file, in seconds (default: start_s or another usual name; false: none)",
    )
    end_column: str | Literal[False] | None = Field(
        default=None,
        validation_alias=AliasChoices("end_column", "end_s_column"),
        description="end of the clip in its file, in seconds (default: end_s or another usual name; false: none)",
    )
    duration_column: str | Literal[False] | None = Field(
        default=None,
        validation_alias=AliasChoices("duration_column", "duration_s_column"),
        description="length of the clip, in seconds (default: duration_s or, with starts, another usual name)",
    )
    separator: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="csv: separator between cells (default: found from the first line)",
    )


def index(
    root: Path,
    *,
    kind: str | None = None,
    name: str | None = None,
    separator: str | None = None,
    task: Task | None = None,
    tables: Sequence[Path] = (),
    audio_root: Path | None = None,
    suffix: str | None = None,
    pattern: str | None = None,
    where: Sequence[Condition] = (),
    **columns: str | bool | None,
) -> Manifest:
    """Read a manifest of one or more files.

    Args:
        root: The file.
        kind: `csv`, `jsonl` or `parquet`; by default the file's suffix.
        name: The dataset's name; by default the file's name without suffix.
        separator: Separator between the cells of a CSV file; None: found from the first line.
        task: The kind of labels; None: inferred. The cells of a CSV file are read as lists if all are JSON lists, and
            as numbers if all are numbers and at least one is not whole.
        tables: Further files of the same kind. Paths are relative to the working folder or to that of `root`.
        audio_root: Folder to which paths refer; None: each table's folder.
        suffix: Extension of the audio files, for paths without one.
        pattern: Reads label, group, fold and split from paths, see `features.datasets.naming`.
        where: Conditions on columns of the files; those on other columns are left to the caller.
        **columns: `<role>_column="its name in the file"`, or False for none, for any column.

    Raises:
        ManifestError: A file is missing or cannot be read, or a column or a cell is missing; the message names the
            line.
    """
    import pandas as pd

    root = existing_file(root)
    kind = kind or root.suffix.lstrip(".").lower()
    parsed = parse_pattern(pattern) if pattern else None
    files = [root, *(_other_table(root, table) for table in tables)]
    parts = [
        _read_one(file, root, kind, separator, parsed, audio_root, suffix, _given(columns), where, many=len(files) > 1)
        for file in files
    ]
    table = pd.concat(parts) if len(parts) > 1 else parts[0]
    if len(parts) > 1:
        table.index = pd.Index([str(place) for place in table["place"]])
        if columns.get("split_column") is not False:
            splits_of_tables(table, files)
    places = table.pop("place").tolist()
    table = name_rows(root, table, places)
    texts = kind not in ("jsonl", "parquet") and (parsed is None or "label" not in parsed.fields)
    task, table["label"] = _labels(root, table["label"], task, texts)
    table = table.sort_values("id", key=lambda ids: ids.map(str), kind="stable")
    return Manifest(name or root.stem, root.parent, table, task)


def existing_file(root: Path) -> Path:
    """Return `root` if it is a file.

    Raises:
        ManifestError: It is missing or a folder; the message describes the expected file.
    """
    root = Path(root)
    if not root.is_file():
        state = "is a folder, not a manifest file" if root.is_dir() else "no such manifest file"
        raise ManifestError(f"{root}: {state}; {SOURCE} (point elsewhere with --set dataset.root=FILE)")
    return root


def read_clips(path: Path) -> pd.DataFrame:
    """Read the clips of a manifest file without labels, in the file's order.

    Args:
        path: `.csv`, `.tsv`, `.jsonl` or `.parquet` file with usual column names.

    Returns:
        Columns `id`, `path` and, if the file has them, `start_s` and `duration_s`. Paths are relative to the file's
        folder.

    Raises:
        ManifestError: As `index`.
    """
    if not path.is_file():
        raise ManifestError(f"{path}: no such manifest file")
    kind = path.suffix.lstrip(".").lower()
    table = _read_one(path, path, kind, None, None, None, None, {}, needed=("path",))
    table = name_rows(path, table, table.pop("place").tolist())
    return table[[column for column in ("id", "path", "start_s", "duration_s") if column in table]].reset_index(
        drop=True
    )


def column_names(path: Path) -> list[str]:
    """Return the column names of a manifest file.

    Raises:
        ManifestError: As `index`.
    """
    return [str(name) for name in read_cells(path, path.suffix.lstrip(".").lower()).columns]


def _given(columns: dict[str, str | bool | None]) -> Given:
    """Return role -> given name for options such as `start_column`; older names such as `start_s_column` count, too."""
    found: dict[str, str | bool | None] = {}
    for role in ROLES:
        short = columns.get(f"{role.removesuffix('_s')}_column")
        found[role] = short if short is not None else columns.get(f"{role}_column")
    return found


def _other_table(root: Path, table: Path) -> Path:
    table = Path(table).expanduser()
    beside = root.parent / table
    return existing_file(table if table.is_file() or not beside.is_file() else beside)


def _read_one(
    file: Path,
    root: Path,
    kind: str,
    separator: str | None,
    pattern: NamePattern | None,
    audio_root: Path | None,
    suffix: str | None,
    given: Given,
    where: Sequence[Condition] = (),
    *,
    many: bool = False,
    needed: tuple[str, ...] = ("path", "label"),
) -> pd.DataFrame:
    """Read one table; columns are the roles, and `place`, which says where a row is."""
    import pandas as pd

    cells = meeting(str(file), read_cells(file, kind, separator), where)
    read_by_name = pattern.fields if pattern else ()
    needed = tuple(role for role in needed if role not in read_by_name)
    columns = choose_columns(str(file), cells, {**given, **dict.fromkeys(read_by_name, False)}, needed)
    for question in columns.questions:
        _log.warning("%s", question)
    table = pd.DataFrame({role: cells[name] for role, name in columns.names.items()}, dtype=object)
    if "label" not in needed:
        table = table.drop(columns="label", errors="ignore")
    for role in ("id", "path", "label"):
        if role in table:
            require_cells(file, table[role], columns.names[role], lists=role == "label")
    places = [Place(file, str(place), many) for place in table.index]
    found = _find(file, root, audio_root, suffix, table["path"].tolist(), [str(place) for place in table.index])
    table["path"] = found.paths
    to_seconds(file, table, columns.names)
    if pattern is not None:
        facts, unmatched = pattern.read_all(found.paths)
        if unmatched:
            raise ManifestError(pattern.mismatch(file, unmatched, len(facts)))
        for role in pattern.fields:
            table[role] = [fields[role] for fields in facts if fields]
    table["place"] = pd.Series(places, table.index, dtype=object)
    return table


def _find(
    file: Path, root: Path, audio_root: Path | None, suffix: str | None, names: list[object], places: list[str]
) -> FoundFiles:
    """Find the audio of each row; paths become relative to the folder of `root`."""
    base = file.parent
    if audio_root is not None:
        base = Path(audio_root).expanduser()
        if not base.is_dir():
            base = file.parent / base
        if not base.is_dir():
            raise ManifestError(f"dataset.audio_root: {audio_root} is no folder (nor is {base})")
    found = find_files(str(file), base, places, names, suffix)
    if found.by_name:
        _log.info("%s: %s", file, found.summary())
    if base != root.parent:
        prefix = Path(os.path.relpath(base.resolve(), root.parent.resolve())).as_posix()
        found.paths = [str(PurePosixPath(prefix) / path) for path in found.paths]
    return found


def _labels(path: Path, cells: pd.Series, task: Task | None, texts: bool) -> tuple[Task, pd.Series]:
    """Return the task, and each row's label in the form the task needs."""
    import pandas as pd

    places, values = [str(place) for place in cells.index], cells.tolist()
    if task is None:
        values = read_text_cells(values) if texts else values
        check_alike(places, values, str(path))
        task = task_of(values)
    return task, pd.Series(read_labels(places, values, task, str(path)), index=cells.index, dtype=object)
