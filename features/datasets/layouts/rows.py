"""Turn the rows of a layout into a manifest: splits from names, ids of segments, missing roots."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from features.datasets.listing import all_files, base_name
from features.errors import ManifestError
from features.labels import Task
from features.manifest import SPLIT_ALIASES, SPLITS, Manifest

_log = logging.getLogger(__name__)
DEPTH = 8  # folders below the root that are searched


def existing_root(root: Path, source: str) -> Path:
    """Return `root` if it exists: a folder, or a file in layouts that may be one file.

    Raises:
        ManifestError: It does not exist; the message describes the layout.
    """
    if not root.exists():
        raise ManifestError(f"{root}: no such folder or file; {source} (point elsewhere with --set dataset.root=PATH)")
    return root


def files_below(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Yield the files below a folder that are not hidden, down to `depth` folders."""
    start = len(root.parts)
    for path in map(Path, all_files(root)):
        if len(path.parts) - start <= depth + 1:
            yield path


def split_of(name: str) -> str | None:
    """Return the split that a file or folder name begins with, such as `test-00000-of-00001` or `train_clean`."""
    first = re.split(r"[-_.\d ]", name.lower(), maxsplit=1)[0]
    split = _split_name(first)
    return split if split in SPLITS else None


def _split_name(text: object) -> str:
    name = str(text).strip().lower()
    return SPLIT_ALIASES.get(name, name)


def laid_out(name: str | None, root: Path, rows: Iterable[Mapping[str, object]], task: Task | None = None) -> Manifest:
    """Return the manifest of a layout's rows, sorted by id.

    A missing `id` becomes the path, with `@start` for a segment. Folds, groups and splits that not all rows have are
    not used, and neither is a split that all rows have in common.

    Args:
        name: The dataset's name; None: that of the root.
        root: The folder to which paths are relative, or a file in it.
        rows: Rows with `path`, `label` and optional columns.
        task: The kind of labels; None: from the labels.
    """
    import pandas as pd

    table = [dict(row) for row in rows]
    splits = {row.get("split") for row in table}
    columns = set().union(*table)
    unknown = sorted(str(split) for split in splits if split is not None and _split_name(split) not in SPLITS)
    if unknown:
        _log.warning("%s: the split %r is none of %s, so splits are not used", root, unknown[0], ", ".join(SPLITS))
        columns -= {"split"}
    for column in ("fold", "group", "split"):
        missing = sum(row.get(column) is None for row in table)
        if 0 < missing < len(table):
            _log.warning("%s: %d of %d clips have no %s, so it is not used", *(root, missing, len(table)), column)
        if missing or (column == "split" and len(splits) < 2):
            columns -= {column}
    _fill_in_ids(table)
    ordered = sorted(table, key=lambda row: str(row["id"]))
    kept = [column for column in ("id", "path", "label", *sorted(columns - {"id", "path", "label"}))]
    folder = root if root.is_dir() else root.parent
    base = base_name(root) if root.is_dir() else root.name.split(".")[0]
    return Manifest(name or base, folder, pd.DataFrame(ordered, columns=kept, dtype=object), task)  # type: ignore[arg-type]


def _fill_in_ids(table: list[dict[str, object]]) -> None:
    """Give rows without an id their path, and segments also their start, their length and a number where needed."""
    missing = [row for row in table if row.get("id") is None]
    for row in missing:
        start = row.get("start_s")
        row["id"] = str(row["path"]) if start is None else f"{row['path']}@{start:.9g}"
    counts = Counter(str(row["id"]) for row in missing)
    for row in missing:
        if counts[str(row["id"])] > 1 and row.get("duration_s") is not None:
            row["id"] = f"{row['id']}+{row['duration_s']:.9g}"
    seen: Counter[str] = Counter()
    for row in missing:
        seen[str(row["id"])] += 1
        if seen[str(row["id"])] > 1:
            row["id"] = f"{row['id']}#{seen[str(row['id'])]}"
