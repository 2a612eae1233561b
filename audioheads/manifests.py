"""The labelled clips of a folder, a table, a DataFrame or a dataset section as a `Manifest`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.datasets import load_manifest
from features.datasets.tables.rows import Place, name_rows
from features.errors import ManifestError
from features.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd


def read_manifest(data: Any, *, name: str | None = None, pattern: str | None = None) -> Manifest:
    """Return the labelled clips of a corpus.

    Args:
        data: A folder or a table of any layout that `audioheads init` recognises; a DataFrame with the columns of
            `features.manifest.Manifest` (`id` may be missing; relative paths are relative to the working folder); a
            mapping with the keys of a config's `dataset:`; or a `Manifest`.
        name: Name of the dataset in tables and in the cache; None: that of the folder or file.
        pattern: Reads label, group, fold and split from file names, such as `{group}_{label}_{}.wav`.

    Raises:
        ManifestError: The clips cannot be listed.
        UserError: No labelled audio was found; the message lists what was looked for.
        TypeError: `data` is of another type.
    """
    if isinstance(data, Manifest):
        found = data
    elif isinstance(data, Mapping):
        found = load_manifest(data)
    elif hasattr(data, "columns"):
        found = _of_frame(data)
    elif isinstance(data, str | os.PathLike):
        found = _recognised(Path(data), pattern)
    else:
        raise TypeError(f"expected a folder, a table, a DataFrame or a Manifest, got {type(data).__name__}")
    return found if name is None else replace(found, name=name)


def _recognised(path: Path, pattern: str | None) -> Manifest:
    """Return the clips of a folder or table as `audioheads init` reads them."""
    from pipeline.init.recognise import recognise

    if not path.exists():
        raise ManifestError(f"{path}: no such folder or manifest file")
    return recognise(path, path.with_suffix(".csv"), pattern).manifest


def _of_frame(frame: pd.DataFrame) -> Manifest:
    """Return the manifest of a DataFrame; ids are made and repeated rows left out as in a table on disk."""
    if "path" not in frame:
        raise ManifestError(f"the DataFrame has no column 'path' (columns: {', '.join(map(str, frame))})")
    file = Path("DataFrame")
    table = frame.assign(path=frame["path"].astype(str)).reset_index(drop=True)
    places = [Place(file, f"row {row}", named=False) for row in range(len(table))]
    return Manifest("clips", Path(), name_rows(file, table, places))
