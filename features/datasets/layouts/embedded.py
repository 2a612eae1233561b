"""Parquet and Arrow files with embedded audio, as the library `datasets` writes them: their columns and rows.

Audio bytes are not read here, see `features.audio.containers`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.audio.containers.arrow import batches
from features.errors import ManifestError

SUFFIXES = (".parquet", ".arrow")


@dataclass(frozen=True)
class Row:
    """One row: the file name stored with the audio, whether its bytes are stored, and the cells by role."""

    path: str | None
    has_bytes: bool
    cells: dict[str, Any]


def read_schema(path: Path) -> Any:
    """Return the Arrow schema of a file.

    Raises:
        ManifestError: It is damaged.
    """
    import pyarrow as pa
    from pyarrow.parquet import read_schema as parquet_schema

    try:
        if path.suffix.lower() == ".parquet":
            return parquet_schema(path)
        with pa.OSFile(str(path)) as file:
            try:
                return pa.ipc.open_file(file).schema
            except pa.ArrowInvalid:
                file.seek(0)
                return pa.ipc.open_stream(file).schema
    except (pa.ArrowException, OSError) as error:
        kind = "a Parquet" if path.suffix.lower() == ".parquet" else "an Arrow"
        raise ManifestError(f"{path}: not {kind} file: {str(error).splitlines()[0]}") from None


def audio_columns(schema: Any) -> list[str]:
    """Return the columns with embedded audio: structs with `bytes` that are not declared as something else."""
    import pyarrow as pa

    declared = features_of(schema)
    found = []
    for field in schema:
        feature = declared.get(field.name)
        kind = feature.get("_type") if isinstance(feature, dict) else None
        parts = list(field.type) if pa.types.is_struct(field.type) else []
        is_stored = any(part.name == "bytes" and part.type in (pa.binary(), pa.large_binary()) for part in parts)
        if is_stored and kind in (None, "Audio"):
            found.append(field.name)
    return found


def features_of(schema: Any) -> dict[str, Any]:
    """Return the features that `datasets` declares in a schema."""
    try:
        stored = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return stored if isinstance(stored, dict) else {}


def class_names(feature: Any) -> list[str] | None:
    """Return the names of a `ClassLabel`, or of a list of them; None for other features."""
    while isinstance(feature, list) and feature:
        feature = feature[0]
    while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
        feature = feature["feature"]
    is_class = isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    return feature.get("names") if is_class else None


def read_rows(path: Path, audio: str, roles: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows of a file.

    Args:
        path: The file.
        audio: Its column of audio.
        roles: Role -> column.

    Raises:
        ManifestError: It is damaged.
    """
    import pyarrow as pa

    try:
        yield from (_parquet_rows if path.suffix.lower() == ".parquet" else _arrow_rows)(path, audio, roles)
    except pa.ArrowException as error:
        raise ManifestError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _parquet_rows(path: Path, audio: str, roles: Mapping[str, str]) -> Iterator[Row]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        has_path = "path" in [part.name for part in file.schema_arrow.field(audio).type]
        columns = [*([f"{audio}.path"] if has_path else []), *roles.values()]
        for group in range(file.num_row_groups):
            held = _holds_bytes(file.metadata.row_group(group), f"{audio}.bytes")
            if not columns:
                yield from (Row(None, held, {}) for _ in range(file.metadata.row_group(group).num_rows))
                continue
            for batch in file.iter_batches(row_groups=[group], columns=columns):
                names = _texts(batch.column(audio), "path") if has_path else [None] * len(batch)
                for name, cells in zip(names, _by_role(batch, roles), strict=True):
                    yield Row(name, held, cells)


def _holds_bytes(group: Any, leaf: str) -> bool:
    """Whether a row group holds any bytes in a column, by its statistics."""
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema == leaf and (known := column.statistics) is not None and known.has_null_count:
            return known.null_count < group.num_rows
    return True


def _arrow_rows(path: Path, audio: str, roles: Mapping[str, str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.compute as pc

    with pa.memory_map(str(path)) as file:
        for batch in batches(file):
            column = batch.column(audio)
            has_path = "path" in [part.name for part in column.type]
            names = _texts(column, "path") if has_path else [None] * len(batch)
            held = pc.struct_field(column, "bytes").is_valid().to_pylist()
            for name, there, cells in zip(names, held, _by_role(batch, roles), strict=True):
                yield Row(name, there, cells)


def _texts(column: Any, name: str) -> list[str | None]:
    import pyarrow.compute as pc

    return pc.struct_field(column, name).to_pylist()


def _by_role(batch: Any, roles: Mapping[str, str]) -> list[dict[str, Any]]:
    if not roles:
        return [{} for _ in range(len(batch))]
    columns = [batch.column(name).to_pylist() for name in roles.values()]
    return [dict(zip(roles, cells, strict=True)) for cells in zip(*columns, strict=True)]
