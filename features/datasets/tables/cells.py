"""Read the cells of a CSV, JSON Lines or Parquet file unchanged, one row per clip."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from features.datasets.tables.columns import NAMES, plain
from features.errors import ManifestError, first_line

if TYPE_CHECKING:
    import pandas as pd

KINDS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
SEPARATORS = (",", ";", "\t", "|")
_KNOWN = {name for names in NAMES.values() for name in names}


def read_cells(path: Path, kind: str, separator: str | None = None) -> pd.DataFrame:
    """Read a table; the index gives each row's position in the file (`line 3`).

    Args:
        path: The file.
        kind: `csv`, `jsonl` or `parquet`.
        separator: Separator between the cells of a CSV file; None: found from the first line.

    Raises:
        ManifestError: The file cannot be read; the message names the line.
    """
    if kind == "parquet":
        return _read_parquet(path)
    if kind == "jsonl":
        import pandas as pd

        rows = list(_json_lines(path))
        return pd.DataFrame([row for _, row in rows], index=[f"line {line}" for line, _ in rows], dtype=object)
    return read_csv(path, separator=separator or "")


def read_csv(path: Path, columns: Iterable[str] = (), separator: str | None = None) -> pd.DataFrame:
    """Read a CSV file with every cell as text; empty cells are None, the index is `line N`.

    Args:
        path: UTF-8 text, with or without a byte order mark; the first line names the columns.
        columns: Required columns.
        separator: Separator between cells; None: a tab for `.tsv`, else a comma; empty: found from the first line.

    Raises:
        ManifestError: The file is not UTF-8 or not CSV, a line has too many cells, or a column is missing.
    """
    import pandas as pd

    cells: list[dict[str, object]] = []
    lines: list[str] = []
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    skipped = 0
    if text.startswith("sep=") and len(text) > 4:  # the first line of some files for Excel
        separator = separator or text[4]
        text, skipped = text[5:].lstrip("\r\n"), 1
    if separator is None:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator or _separator(path, text), strict=True)
    try:
        for row in reader:
            line = reader.line_num + skipped
            if None in row:  # DictReader's key for surplus cells
                raise ManifestError(f"{path}: line {line} has more cells than the header")
            cells.append({key: value if value and value.strip() else None for key, value in row.items()})
            lines.append(f"line {line}")
        names = [name for name in reader.fieldnames or () if name]
    except csv.Error as error:
        raise ManifestError(f"{path}: line {reader.line_num + skipped} is not CSV: {error}") from None
    for column in names:
        if names.count(column) > 1:
            raise ManifestError(f"{path}: {names.count(column)} columns are named {column!r}")
    table = pd.DataFrame(cells, columns=names, index=lines, dtype=object)
    for column in columns:
        if column not in table:
            raise ManifestError(f"{path}: no column {column!r} (columns: {', '.join(map(repr, names)) or 'none'})")
        require_cells(path, table[column], column)
    return table


def require_cells(path: Path, cells: pd.Series, column: str, *, lists: bool = False) -> None:
    """Check that every cell of a column is text or a number (or a list, if `lists`).

    Raises:
        ManifestError: A cell is empty or something else; the message names its line.
    """
    for place, value in cells.items():
        if lists and isinstance(value, list):
            continue
        if value is None or value != value:
            raise ManifestError(f"{path}: {place} has no {column}")
        if isinstance(value, list | dict | bytes):
            raise ManifestError(f"{path}: {place} has {value!r} as {column}, not text or a number")


def _separator(path: Path, text: str) -> str:
    """Return the separator that gives the first line the most known names of columns, else the usual one."""
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    header = text.split("\n", 1)[0]

    def worth(separator: str) -> tuple[int, bool]:
        try:
            names = next(csv.reader([header], delimiter=separator), [])
        except csv.Error:
            return 0, False
        return sum(plain(name) in _KNOWN for name in names), separator == usual

    best = max(SEPARATORS, key=worth)
    if worth(best)[0] == 0 and usual not in header:
        return max(SEPARATORS, key=header.count) if any(one in header for one in SEPARATORS) else usual
    return best


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield line number and object of every line that is not blank."""
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
        except RecursionError:
            raise ManifestError(f"{path}: line {number} is nested too deeply") from None
        except ValueError as error:
            why = "not UTF-8 text" if isinstance(error, UnicodeError) else getattr(error, "msg", first_line(error))
            raise ManifestError(f"{path}: line {number} is not JSON: {why}") from None
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
