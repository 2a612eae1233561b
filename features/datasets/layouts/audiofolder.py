"""The layout `audiofolder` of Hugging Face: audio files with `metadata.csv`, or folders of splits and classes."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.datasets.layouts.columns import ColumnOptions, choose, no_label
from features.datasets.layouts.rows import files_below, laid_out, split_of
from features.datasets.listing import audio_files, existing_folder, layout_error, relative
from features.errors import ManifestError
from features.labels import Task, read_labels, read_text_cells, task_of
from features.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "the layout is described at https://huggingface.co/docs/datasets/audio_load#audiofolder"
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE = "file_name"
_log = logging.getLogger(__name__)


class Options(ColumnOptions):
    """Audio with `metadata.csv`, `.jsonl` or `.parquet` (column `file_name`), or `train/<class>/`, `test/<class>/`."""

    kind: Literal["audiofolder"] = "audiofolder"


def index(root: Path, *, name: str | None = None, task: Task | None = None, **columns: str | None) -> Manifest:
    """List an audiofolder. Without a table, the class is the name of a clip's folder.

    Raises:
        ManifestError: The folder is missing, or has neither a table nor folders of classes.
    """
    root = existing_folder(root, SOURCE)
    tables = metadata_files(root)
    if not tables:
        rows = _by_folders(root)
        if not rows:
            raise layout_error(
                root, f"{' or '.join(TABLES)} with audio files, or train/<class>/ and test/<class>/", SOURCE
            )
        return laid_out(name, root, rows, task)
    listed = [row for table in tables for row in _rows(root, table, columns)]
    texts = all(table.suffix == ".csv" for table in tables)
    places, labels = [str(row.pop("place")) for row in listed], [row["label"] for row in listed]
    if task is None:
        labels = read_text_cells(labels) if texts else labels
        task = task_of(labels)
    for row, label in zip(listed, read_labels(places, labels, task, str(root)), strict=True):
        row["label"] = label
    _warn_of_unlisted(root, {str(row["path"]) for row in listed})
    return laid_out(name, root, listed, task)


def metadata_files(root: Path) -> list[Path]:
    """Return the tables below a folder, sorted."""
    return sorted(path for path in files_below(root) if path.name in TABLES)


def _rows(root: Path, path: Path, given: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one table, with their place for messages."""
    from features.datasets.tables.cells import read_cells

    table: pd.DataFrame = read_cells(path, path.suffix[1:])
    if FILE not in table:
        raise ManifestError(f"{path}: no column {FILE!r} (columns: {', '.join(map(repr, table.columns))}); {SOURCE}")
    found = choose(path, list(table.columns), given)
    if "label" not in found:
        raise no_label(path, [name for name in table.columns if name != FILE])
    folder = posixpath.dirname(relative(path, root))
    for place, row in zip(table.index, table.to_dict("records"), strict=True):
        for column in (FILE, found["label"]):
            if row[column] is None or row[column] != row[column]:
                raise ManifestError(f"{path}: {place} has no {column}")
        file = posixpath.normpath(posixpath.join(folder, str(row[FILE])))
        split = split_of(file.split("/")[0]) if "/" in file else None
        yield {"path": file, "place": f"{path}: {place}", "split": split} | {
            role: row[column] for role, column in found.items()
        }


def _by_folders(root: Path) -> list[dict[str, object]]:
    """Return clips in folders of splits that hold folders of classes."""
    rows: list[dict[str, object]] = []
    for clip in audio_files(root):
        parts = relative(clip, root).split("/")
        if len(parts) < 3 or (split := split_of(parts[0])) is None:
            return []
        rows.append({"path": "/".join(parts), "label": parts[-2], "split": split})
    return rows


def _warn_of_unlisted(root: Path, listed: set[str]) -> None:
    others = [path for path in (relative(clip, root) for clip in audio_files(root)) if path not in listed]
    if others:
        _log.warning(
            "%s: %d audio file(s) are in no metadata table and are left out, first %r", *(root, len(others)), others[0]
        )
