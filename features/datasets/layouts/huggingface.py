"""Datasets of the library `datasets` on disk: Parquet files, or Arrow files of `save_to_disk`, with embedded audio."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from features.audio.containers import SEPARATOR
from features.audio.containers.rows import row_name
from features.datasets.layouts import embedded
from features.datasets.layouts.columns import ColumnOptions, choose, no_label
from features.datasets.layouts.rows import existing_root, files_below, laid_out, split_of
from features.datasets.listing import layout_error
from features.errors import ManifestError
from features.labels import Task
from features.manifest import Manifest

SOURCE = "such folders come from https://huggingface.co/docs/datasets (save_to_disk, to_parquet, or a download)"
NO_CLASS = -1  # `datasets` stores it for clips without a label
_log = logging.getLogger(__name__)


class Options(ColumnOptions):
    """Parquet or Arrow files with audio in them, in one folder or a folder per split, or one such file."""

    kind: Literal["huggingface"] = "huggingface"
    audio_column: str | None = Field(default=None, description="column with the audio (default: the only one)")


def index(
    root: Path,
    *,
    name: str | None = None,
    audio_column: str | None = None,
    task: Task | None = None,
    **columns: str | None,
) -> Manifest:
    """List the rows of all files; the label of a `ClassLabel` is its name, and splits come from names.

    Only labels and names are read here. Audio is read row by row when it is needed. Rows without a label are left out.

    Raises:
        ManifestError: There is no such file, it is damaged, or has no audio or no label.
    """
    root = existing_root(root, SOURCE)
    files = data_files(root)
    if not files:
        raise layout_error(root, "Parquet or Arrow files with a column of audio", SOURCE)
    rows = [row for file in files for row in _rows(root, file, audio_column, columns)]
    labelled = [row for row in rows if row["label"] is not None]
    if not labelled:
        raise ManifestError(f"{root}: no row has a label")
    if without := len(rows) - len(labelled):
        _log.warning("%s: %d of %d rows have no label and are left out", root, without, len(rows))
    return laid_out(name, root, labelled, task)


def data_files(root: Path) -> list[Path]:
    """Return the Parquet or Arrow files with a column of audio, sorted; one file is a dataset by itself."""
    found = [root] if root.is_file() else sorted(files_below(root, depth=3))
    found = [path for path in found if path.suffix.lower() in embedded.SUFFIXES and not path.name.startswith("cache-")]
    return [path for path in found if embedded.audio_columns(embedded.read_schema(path))]


def _rows(root: Path, file: Path, audio: str | None, given: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    schema = embedded.read_schema(file)
    features = embedded.features_of(schema)
    column = _audio_column(file, embedded.audio_columns(schema), audio)
    others = [name for name in schema.names if name != column]
    roles = choose(file, others, given)
    classes = [name for name in others if embedded.class_names(features.get(name))]
    if classes and given.get("label_column") is None and roles.get("label") not in classes:
        roles["label"] = classes[0]
    if "label" not in roles:
        raise no_label(file, others)
    names = embedded.class_names(features.get(roles["label"]))
    place = file.name if root.is_file() else file.relative_to(root).as_posix()
    split = next((found for part in reversed(place.split("/")) if (found := split_of(part))), None)
    for number, row in enumerate(embedded.read_rows(file, column, roles)):
        label = _named(f"{file}: row {number + 1}", row.cells["label"], names)
        path = f"{place}{SEPARATOR}{row_name(column, number, row.path)}"
        if row.path and not row.has_bytes:
            path = _outside(root, file, row.path)
        yield {"path": path, "split": split} | row.cells | {"label": label}


def _audio_column(file: Path, there: list[str], given: str | None) -> str:
    if given is None and len(there) > 1:
        raise ManifestError(f"{file}: {len(there)} columns hold audio ({', '.join(there)}); set dataset.audio_column")
    if given is not None and given not in there:
        raise ManifestError(f"{file}: no audio in {given!r} (dataset.audio_column), but in {', '.join(there)}")
    return given or there[0]


def _outside(root: Path, file: Path, path: str) -> str:
    """Return the path of an audio file that a row refers to: relative to the row's file, else to the root."""
    base = root.parent if root.is_file() else root
    near = (file.parent / path).relative_to(base) if not Path(path).is_absolute() else Path(path)
    return near.as_posix() if (base / near).exists() else Path(path).as_posix()


def _named(where: str, label: Any, names: list[str] | None) -> Any:
    """Return class names instead of their numbers; None for a clip without a class."""
    if names is None or label is None or label == NO_CLASS:
        return None if names is not None else label
    if isinstance(label, list):
        return [_named(where, one, names) for one in label]
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise ManifestError(f"{where} has the class {label!r}, but there are {len(names)} classes")
    return names[label]
