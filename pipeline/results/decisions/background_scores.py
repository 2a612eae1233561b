"""`background.parquet` of a model: the probabilities of each fit for windows of background, without calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.errors import RunError
from pipeline.results.decisions.fit_decisions import FitKey
from pipeline.results.prediction_files import SOURCES, is_made_from, read_schema, read_table, write_tables
from pipeline.results.run_folder import write_whole

BACKGROUND_FILE = "background.parquet"


def is_scored(folder: Path, digest: str) -> bool:
    """Return whether a model has scores of the windows and fits with this digest."""
    return is_made_from(folder / BACKGROUND_FILE, digest)


def stored_digest(folder: Path) -> str:
    """Return the digest of what the scores of a model are made from.

    Raises:
        RunError: The file is missing or damaged.
    """
    return (read_schema(folder / BACKGROUND_FILE).metadata or {}).get(SOURCES, b"").decode()


def write_scores(folder: Path, digest: str, ids: Sequence[str], scores: Mapping[FitKey, np.ndarray]) -> None:
    """Write the probabilities of windows.

    Args:
        folder: Folder of the model.
        digest: What they are made from.
        ids: Id of each window.
        scores: Probabilities of each fit, shape (n, C).

    Raises:
        RunError: The file cannot be written.
    """
    tables = [
        pa.table(
            {
                "fold": pa.repeat(fold, len(ids)),
                "seed": pa.repeat(pa.scalar(seed, pa.int64()), len(ids)),
                "draw": pa.repeat(pa.scalar(draw, pa.int64()), len(ids)),
                "id": pa.array(ids, pa.string()),
                "probabilities": pa.FixedSizeListArray.from_arrays(
                    pa.array(values.astype(np.float32).reshape(-1)), values.shape[1]
                ),
            }
        )
        for (fold, seed, draw), values in scores.items()
    ]
    schema = tables[0].schema.with_metadata({SOURCES: digest})
    write_whole(folder / BACKGROUND_FILE, partial(write_tables, schema=schema, tables=tables))


def read_scores(folder: Path, ids: Sequence[str], n_classes: int) -> dict[FitKey, np.ndarray] | None:
    """Read the probabilities of windows, (n, C) for each fit; None if the model has none.

    Raises:
        RunError: The file cannot be read, or has other windows or classes.
    """
    path = folder / BACKGROUND_FILE
    if not path.is_file():
        return None
    table = read_table(path)
    n_fits, rest = divmod(len(table), len(ids))
    values = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if rest or table["id"].to_pylist() != list(ids) * n_fits or len(values) != len(table) * n_classes:
        raise RunError(f"{path}: is of other windows or classes; run `audioheads train-heads` with the config again")
    keys = [table[name].take(list(range(0, len(table), len(ids)))).to_pylist() for name in ("fold", "seed", "draw")]
    return dict(zip(zip(*keys, strict=True), values.reshape(n_fits, len(ids), n_classes), strict=True))
