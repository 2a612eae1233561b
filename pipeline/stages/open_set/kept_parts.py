"""Scores of the classes that an interrupted `open_set` job has finished, so that it continues with the others."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from features.errors import RunError
from pipeline.results.prediction_files import read_table, write_tables
from pipeline.results.run_folder import write_whole

JOB, SECONDS = b"audioheads.job", b"audioheads.train_seconds"
"""Keys in the metadata of a file: the digest of what its scores depend on, and the duration of the training."""


def write_part(path: Path, job: str, table: pa.Table, seconds: float) -> None:
    """Write the scores without one class.

    Raises:
        RunError: The file cannot be written.
    """
    schema = table.schema.with_metadata({JOB: job, SECONDS: repr(seconds)})
    write_whole(path, lambda temporary: write_tables(temporary, schema, [table.cast(schema)]))


def read_part(path: Path, job: str) -> tuple[pa.Table, float] | None:
    """Return the scores and the seconds in a file; None if it is missing, damaged or of another job."""
    if not path.is_file():
        return None
    try:
        table = read_table(path)
    except RunError:
        return None
    about = table.schema.metadata or {}
    if about.get(JOB) != job.encode() or SECONDS not in about:
        return None
    return table.replace_schema_metadata(None), float(about[SECONDS])
