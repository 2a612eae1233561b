"""Parquet files of predictions: those of one model, and `predictions.parquet` of a run with all models."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import RunError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

    from features.labels import Task
    from heads.evaluation.predictions import Predictions

NUMBERS = ("probabilities", "classes")  # columns that are not repetitive, so that a dictionary would not shrink them
SOURCES = b"audioheads.sources"
"""Key in the metadata of a run's file: the digest of what it was made from."""


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table.

    Args:
        path: The file.
        columns: The columns to read; those that the file lacks are left out. None reads all.

    Raises:
        RunError: The file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            known = file.schema_arrow.names
            return file.read(known if columns is None else [name for name in columns if name in known])
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def read_schema(path: Path) -> pa.Schema:
    """Read the columns and the metadata of a table.

    Raises:
        RunError: The file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def count_rows(path: Path) -> int:
    """Return the number of rows of a table.

    Raises:
        RunError: The file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def write_tables(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema to a file, one at a time."""
    import pyarrow.parquet as pq

    repetitive = [name for name in schema.names if name not in NUMBERS]
    with pq.ParquetWriter(path, schema, use_dictionary=repetitive) as writer:
        for table in tables:
            writer.write_table(table)


def joint_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the schema that the predictions of all models of a run can be converted to: that of the smallest form."""
    import pyarrow as pa

    def form(schema: pa.Schema) -> tuple[bool, bool, bool]:
        kind = schema.field("probabilities").type
        return "classes" in schema.names, kind.value_type == pa.float16(), pa.types.is_fixed_size_list(kind)

    return max(schemas, key=form).remove_metadata()


def converted(
    table: pa.Table,
    schema: pa.Schema,
    labels: Sequence[str],
    task: Task,
    decide: Callable[[list[Predictions]], list[Predictions]] | None = None,
) -> pa.Table:
    """Convert a table of predictions to a schema from `joint_schema`.

    Args:
        table: Predictions of one model.
        schema: The columns of the result.
        labels: Class names in the order of the probabilities.
        task: The task.
        decide: Returns the predictions with other decisions; None: the stored ones are kept.
    """
    import pyarrow as pa

    from heads.evaluation.prediction_table import from_table, to_table

    if decide is None and table.schema.equals(schema):  # metadata may differ
        return table.cast(schema)
    is_small = "classes" in schema.names or schema.field("probabilities").type.value_type == pa.float16()
    predictions = from_table(table, labels, task)
    predictions = decide(predictions) if decide else predictions
    return to_table(predictions, labels, 0 if is_small else sys.maxsize).cast(schema)


def is_made_from(path: Path, digest: str) -> bool:
    """Return whether a run's file exists and was made from the models with this digest."""
    try:
        return path.is_file() and (read_schema(path).metadata or {}).get(SOURCES) == digest.encode()
    except RunError:
        return False


def sources_digest(parts: Iterable[object]) -> str:
    """Return the SHA-256 of JSON values that determine a run's file."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()


def _unreadable(path: Path, error: Exception) -> RunError:
    return RunError(f"{path}: cannot be read as predictions ({first_line(error)}); delete its folder and train again")
