"""Read a user's manifest: one CSV, JSON Lines or Parquet file that lists clips and labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from features.datasets.choosing.condition import Condition, meeting
from features.datasets.options import DatasetOptions
from features.errors import ManifestError
from features.labels import Task, check_alike, read_labels, read_text_cells, task_of
from features.manifest import OPTIONAL, Manifest

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "write a table with the columns path, label and, if known, id, fold, split, group, start_s, duration_s"


class Options(DatasetOptions):
    """A manifest file; its paths are relative to its own folder."""

    kind: Literal["csv", "jsonl", "parquet"]
    id_column: str = Field(default="id", description="unique clip id (default: the path, if the column is absent)")
    path_column: str = Field(default="path", description="audio file")
    label_column: str = Field(default="label", description="class, list of classes or number")
    task: Task | None = Field(
        default=None,
        description="kind of labels (default: multi-label for lists, regression for numbers that are not all whole); "
        "multi-label splits text at ; and ,",
    )
    fold_column: str = Field(default="fold", description="cross-validation fold")
    split_column: str = Field(default="split", description="train, valid or test")
    group_column: str = Field(default="group", description="speaker or source recording")
    start_s_column: str = Field(default="start_s", description="start of the clip in its file, in seconds")
    duration_s_column: str = Field(default="duration_s", description="length of the clip, in seconds")
    separator: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="csv: separator between cells (default: a tab for .tsv, else a comma)",
    )


def index(
    root: Path,
    *,
    kind: str | None = None,
    name: str | None = None,
    separator: str | None = None,
    task: Task | None = None,
    where: Sequence[Condition] = (),
    **columns: str,
) -> Manifest:
    """Read a manifest file.

    Args:
        root: The file.
        kind: `csv`, `jsonl` or `parquet`; by default the file's suffix.
        name: The dataset's name; by default the file's name without suffix.
        separator: Separator between the cells of a CSV file.
        task: The kind of labels; None: inferred. The cells of a CSV file are read as lists if all are JSON lists, and
            as numbers if all are numbers and at least one is not whole.
        where: Conditions on columns of the file; those on other columns are left to the caller.
        **columns: `<column>_column="its name in the file"` for any manifest column.

    Raises:
        ManifestError: The file is missing or cannot be read, or a column or a cell is missing; the message names the
            line.
    """
    root = existing_file(root)
    kind = kind or root.suffix.lstrip(".").lower()
    table = meeting(str(root), _read(root, kind, separator), where)
    table = _renamed(root, table, columns)
    texts = kind not in ("jsonl", "parquet")
    task, table["label"] = _labels(root, table["label"], task, texts)
    table = _placed(root.parent, table).sort_values("id", key=lambda ids: ids.map(str), kind="stable")
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
        path: `.csv`, `.tsv`, `.jsonl` or `.parquet` file with the default column names.

    Returns:
        Columns `id`, `path` and, if the file has them, `start_s` and `duration_s`. Paths are relative to the file's
        folder.

    Raises:
        ManifestError: As `index`.
    """
    if not path.is_file():
        raise ManifestError(f"{path}: no such manifest file")
    table = _read(path, path.suffix.lstrip(".").lower(), None)
    table = _placed(path.parent, _renamed(path, table.assign(label="?"), {}))
    return table[[column for column in ("id", "path", "start_s", "duration_s") if column in table]].reset_index(
        drop=True
    )


def column_names(path: Path) -> list[str]:
    """Return the column names of a manifest file.

    Raises:
        ManifestError: As `index`.
    """
    return [str(name) for name in _read(path, path.suffix.lstrip(".").lower(), None).columns]


def read_cells(path: Path, kind: str) -> pd.DataFrame:
    """Read a `csv`, `jsonl` or `parquet` file unchanged, one row per clip; the index gives each row's position.

    Raises:
        ManifestError: The file cannot be read.
    """
    return _read(path, kind, None)


def read_csv(path: Path, columns: Iterable[str] = (), separator: str | None = None) -> pd.DataFrame:
    """Read a CSV file with every cell as text; empty cells are None, the index is `line N`.

    Args:
        path: UTF-8 text, with or without a byte order mark; the first line names the columns.
        columns: Required columns.
        separator: Separator between cells; by default a tab for `.tsv`, else a comma.

    Raises:
        ManifestError: The file is not UTF-8 or not CSV, a line has too many cells, or a column is missing.
    """
    import pandas as pd

    separator = separator or ("\t" if path.suffix.lower() == ".tsv" else ",")
    cells: list[dict[str, object]] = []
    lines: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=separator, strict=True)
            for row in reader:
                if None in row:  # DictReader's key for surplus cells
                    raise ManifestError(f"{path}: line {reader.line_num} has more cells than the header")
                cells.append({key: value if value and value.strip() else None for key, value in row.items()})
                lines.append(f"line {reader.line_num}")
            names = [name for name in reader.fieldnames or () if name]
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise ManifestError(f"{path}: line {reader.line_num} is not CSV: {error}") from None
    for column in names:
        if names.count(column) > 1:
            raise ManifestError(f"{path}: {names.count(column)} columns are named {column!r}")
    table = pd.DataFrame(cells, columns=names, index=lines, dtype=object)
    for column in columns:
        _require(path, table, column)
        _require_cells(path, table[column], column)
    return table


def _read(path: Path, kind: str, separator: str | None) -> pd.DataFrame:
    """Read the file unchanged, one row per clip; the index gives each row's position in the file."""
    if kind == "parquet":
        return _read_parquet(path)
    if kind == "jsonl":
        import pandas as pd

        rows = list(_json_lines(path))
        return pd.DataFrame([row for _, row in rows], index=[f"line {line}" for line, _ in rows], dtype=object)
    return read_csv(path, separator=separator)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield line number and object of every line that is not blank."""
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
        except ValueError as error:
            raise ManifestError(
                f"{path}: line {number} is not JSON: {getattr(error, 'msg', 'not UTF-8 text')}"
            ) from None
        if not isinstance(row, dict):
            raise ManifestError(f"{path}: line {number} is {line.decode().strip()[:40]!r}, not a JSON object")
        yield (
            number,
            {key: None if isinstance(value, str) and not value.strip() else value for key, value in row.items()},
        )


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            columns = file.read().to_pydict()
    except (ArrowException, OSError) as error:
        raise ManifestError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None
    table = pd.DataFrame(columns, dtype=object)
    table.index = pd.Index([f"row {number}" for number in range(1, len(table) + 1)])
    return table


def _renamed(path: Path, table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Select the manifest's columns, rename them, and check that required columns and cells are present."""
    import pandas as pd

    wanted = {column: columns.get(f"{column}_column") or column for column in ("id", "path", "label", *OPTIONAL)}
    found = {}
    for column, given in wanted.items():
        if column in ("path", "label") or given != column:
            _require(path, table, given, f"; set dataset.{column}_column to name another")
        if given in table:
            found[column] = table[given]
    result = pd.DataFrame(found, dtype=object)
    for column in ("id", "path", "label"):
        if column in result:
            _require_cells(path, result[column], wanted[column], lists=column == "label")
    return result


def _labels(path: Path, cells: pd.Series, task: Task | None, texts: bool) -> tuple[Task, pd.Series]:
    """Return the task, and each row's label in the form the task needs."""
    import pandas as pd

    places, values = [str(place) for place in cells.index], cells.tolist()
    if task is None:
        values = read_text_cells(values) if texts else values
        check_alike(places, values, str(path))
        task = task_of(values)
    return task, pd.Series(read_labels(places, values, task, str(path)), index=cells.index, dtype=object)


def _require(path: Path, table: pd.DataFrame, column: str, hint: str = "") -> None:
    if column not in table:
        names = ", ".join(map(repr, table.columns)) or "none"
        raise ManifestError(f"{path}: no column {column!r} (columns: {names}){hint}")


def _require_cells(path: Path, cells: pd.Series, column: str, *, lists: bool = False) -> None:
    """Check that every cell of a column is text or a number (or a list, if `lists`)."""
    for place, value in cells.items():
        if lists and isinstance(value, list):
            continue
        if value is None or value != value:
            raise ManifestError(f"{path}: {place} has no {column}")
        if isinstance(value, list | dict | bytes):
            raise ManifestError(f"{path}: {place} has {value!r} as {column}, not text or a number")


def _placed(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Write paths with forward slashes, and fill in missing ids with the path relative to the manifest's folder."""
    table["path"] = [_posix(folder, path) for path in table["path"]]
    if "id" not in table:
        table["id"] = [_relative(folder, path) for path in table["path"]]
    return table


def _posix(folder: Path, path: object) -> str:
    """Convert a path to forward slashes; a backslash stays only if it is part of an existing file's name."""
    text = str(path)
    if "\\" in text and not (folder / text).exists():
        text = text.replace("\\", "/")
    return PurePosixPath(text).as_posix()


def _relative(folder: Path, path: str) -> str:
    """Return the path relative to the manifest's folder, if it is inside it."""
    base = folder.absolute().as_posix()
    return PurePosixPath(path).relative_to(base).as_posix() if PurePosixPath(path).is_relative_to(base) else path
