"""`predictions.parquet` of a run: the predictions of all its models in one file, for other programs.

In `multi-label`, `predicted` are the classes that the thresholds of a model decide, if it has some.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from features.labels import Task
from pipeline.results.decisions.fit_decisions import DECISIONS_FILE, decided, read_decisions
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

    from heads.evaluation.predictions import Predictions


def write_predictions(run_dir: Path, fits: Sequence[Fit], labels: Sequence[str], task: Task) -> None:
    """Write the run's `predictions.parquet` and `labels.json` (label order of the probabilities).

    The file is not written again if it was made from the same models. One model is in memory at a time.

    Raises:
        RunError: A file cannot be read or written.
    """
    write_json(run_dir / "labels.json", list(labels))
    path = run_dir / PREDICTIONS_FILE
    digest = sources_digest([list(labels), *(_identity(fit, task) for fit in fits)])
    if is_made_from(path, digest):
        return
    schema = joint_schema([_schema(fit) for fit in fits]).with_metadata({SOURCES: digest})
    write_whole(
        path,
        lambda temporary: write_tables(
            temporary,
            schema,
            (converted(fit.table(), schema, labels, task, _decide(fit, labels, task)) for fit in fits),
        ),
    )


def _decide(fit: Fit, labels: Sequence[str], task: Task) -> Callable[[list[Predictions]], list[Predictions]] | None:
    """Return the function that decides the classes of a model by its thresholds; None if it has none."""
    decisions = read_decisions(fit.folder, len(labels)) if task == "multi-label" else {}
    has_thresholds = any(own.point is not None for own in decisions.values())
    return partial(decided, decisions=decisions) if has_thresholds else None


def _identity(fit: Fit, task: Task) -> list[object]:
    """Return what changes whenever a model's predictions or their decisions change."""
    if fit.computed is not None:
        return [fit.folder.name, _digest(fit.computed)]
    names = (PREDICTIONS_FILE, DECISIONS_FILE) if task == "multi-label" else (PREDICTIONS_FILE,)
    states = [path.stat() for name in names if (path := fit.folder / name).exists()]
    times = [[state.st_size, state.st_mtime_ns] for state in states]
    return [*fit.folder.parts[-2:], fit.about.get("job"), *times]


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
