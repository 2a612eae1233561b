"""`predictions.parquet` of a run: the predictions of all its models in one file, for other programs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from features.labels import Task
from pipeline.results.fit import Fit
from pipeline.results.prediction_files import (
    SOURCES,
    converted,
    is_made_from,
    joint_schema,
    read_schema,
    sources_digest,
    write_tables,
)
from pipeline.results.run_folder import PREDICTIONS_FILE, write_json, write_whole

if TYPE_CHECKING:
    import pyarrow as pa


def write_predictions(run_dir: Path, fits: Sequence[Fit], labels: Sequence[str], task: Task) -> None:
    """Write the run's `predictions.parquet` and `labels.json` (label order of the probabilities).

    The file is not written again if it was made from the same models. One model is in memory at a time.

    Raises:
        RunError: A file cannot be read or written.
    """
    write_json(run_dir / "labels.json", list(labels))
    path, digest = run_dir / PREDICTIONS_FILE, sources_digest([list(labels), *map(_identity, fits)])
    if is_made_from(path, digest):
        return
    schema = joint_schema([_schema(fit) for fit in fits]).with_metadata({SOURCES: digest})
    write_whole(
        path,
        lambda temporary: write_tables(
            temporary, schema, (converted(fit.table(), schema, labels, task) for fit in fits)
        ),
    )


def _identity(fit: Fit) -> list[object]:
    """Return what changes whenever a model's predictions change."""
    if fit.computed is not None:
        return [fit.folder.name, _digest(fit.computed)]
    stored = (fit.folder / PREDICTIONS_FILE).stat()
    return [*fit.folder.parts[-2:], fit.about.get("job"), stored.st_size, stored.st_mtime_ns]


def _schema(fit: Fit) -> pa.Schema:
    return fit.computed.schema if fit.computed is not None else read_schema(fit.folder / PREDICTIONS_FILE)


def _digest(table: pa.Table) -> str:
    """Return the SHA-256 of a table's content."""
    sha256 = hashlib.sha256()
    for column in table.columns:
        for chunk in column.chunks:
            for buffer in filter(None, chunk.buffers()):
                sha256.update(buffer)
    return sha256.hexdigest()
