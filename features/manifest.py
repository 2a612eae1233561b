"""The manifest: the table of labelled clips, validated once and used by every stage."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from features.errors import ManifestError
from features.labels import Task, check_alike, read_labels, similar_labels_text, task_of

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("id", "path", "label")
OPTIONAL = ("fold", "split", "group", "start_s", "duration_s")
SPLITS = ("train", "valid", "test")
SPLIT_ALIASES = {"val": "valid", "validation": "valid", "dev": "valid", "training": "train", "testing": "test"}


@dataclass(frozen=True)
class Manifest:
    """Labelled clips, one row each.

    Attributes:
        name: The dataset's name, used in tables and as the name of its cache folder.
        root: The folder to which relative paths in `clips` refer.
        clips: Columns `id`, `path`, `label` and, where known, `fold`, `split` (`train`, `valid`,
            `test`), `group` (speaker or source recording), `start_s` and `duration_s` in seconds.
            All columns are text, except seconds, folds that are whole numbers, and the labels of some
            tasks: tuples of text (`multi-label`, sorted; empty for a clip without a class) or float64
            (`regression`). The index is 0…N-1; "row" always means a position in it.
        task: The kind of labels. If not given, it is inferred from them, see `features.labels.task_of`.
        choices: One sentence for each step by which clips or labels were chosen, see `features.datasets.choosing`.
        added_labels: Classes that models have, but none of these clips.

    Raises:
        ManifestError: There are no clips, a column or value is missing, text is not UTF-8, ids are
            duplicated, a split name is unknown, a segment starts before 0 or has no length, a label does
            not fit the task, or there is no class at all.
    """

    name: str
    root: Path
    clips: pd.DataFrame
    task: Task = None  # type: ignore[assignment]  # never None after __post_init__
    choices: tuple[str, ...] = ()
    added_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the table and put it in canonical form."""
        object.__setattr__(self, "root", Path(self.root))
        task, clips = _canonical(self.name, self.clips, self.task)
        object.__setattr__(self, "clips", clips)
        object.__setattr__(self, "task", task)

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.clips)

    @property
    def labels(self) -> list[str]:
        """The sorted class names; empty for regression."""
        if self.task == "regression":
            return []
        if self.task == "multi-label":
            return sorted(set().union(self.added_labels, *self.clips["label"]))
        return sorted({*self.clips["label"].unique(), *self.added_labels})

    @property
    def without_added_labels(self) -> Manifest:
        """The same clips without `added_labels`."""
        return replace(self, added_labels=()) if self.added_labels else self

    @property
    def label_counts(self) -> dict[str, int]:
        """Number of clips of each class; empty for regression."""
        if self.task == "regression":
            return {}
        return {str(name): int(count) for name, count in self.clips["label"].explode().dropna().value_counts().items()}

    @property
    def similar_labels(self) -> str:
        """One sentence that names classes which differ only by case or blanks; empty if there are none."""
        return similar_labels_text(self.name, self.label_counts)

    def path_of(self, row: int) -> Path:
        """Return the path of one row's audio file."""
        return self.root / str(self.clips["path"].iat[row])

    def paths(self) -> Iterator[str]:
        """Return the path of each row's audio file."""
        return (str(self.root / path) for path in self.clips["path"])

    def segment_of(self, row: int) -> tuple[float, float | None]:
        """Return start and duration in seconds of one row's segment in its file; None means to the end."""
        start, duration = (
            cast(float, self.clips[column].iat[row]) if column in self.clips else math.nan
            for column in ("start_s", "duration_s")
        )
        return 0.0 if math.isnan(start) else float(start), None if math.isnan(duration) else float(duration)

    def segments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return starts and durations in seconds, each (N,) float64, of all segments; NaN means to the end."""
        import pandas as pd

        given = (self.clips.get(column, pd.Series(np.nan, self.clips.index)) for column in ("start_s", "duration_s"))
        starts, durations = (column.to_numpy(np.float64) for column in given)
        return np.nan_to_num(starts), durations

    def write_csv(self, path: Path) -> None:
        """Write the table as CSV; `features.datasets` reads it as kind `csv`.

        Relative paths are rewritten to refer to the CSV's folder. Lists of labels are written as JSON. If
        labels look like those of another task (class names such as 1.5, or regression targets that are all
        whole numbers), `task` must be given when the file is read.

        Args:
            path: The CSV file; its folder is created.
        """
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        table = self.clips.assign(path=_moved(self.clips["path"], self.root.resolve(), folder.resolve()))
        if self.task == "multi-label":
            table["label"] = [json.dumps(names, ensure_ascii=False) for names in table["label"]]
        texts = table[[column for column in ("id", "path", "label", "fold", "group") if column in table]]
        # Before Python 3.13, the csv module leaves a lone carriage return unquoted.
        bare = any(texts[column].astype(str).str.contains("\r", regex=False).any() for column in texts)
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            table.to_csv(
                file, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
            )


def _moved(paths: pd.Series, root: Path, folder: Path) -> list[str]:
    """Rewrite paths relative to `root` as relative to `folder`, or absolute if that is impossible."""
    try:
        prefix = Path(os.path.relpath(root, folder))
    except ValueError:  # another drive
        prefix = root
    return [(prefix / path).as_posix() for path in paths]


def _canonical(name: str, clips: pd.DataFrame, task: Task | None) -> tuple[Task, pd.DataFrame]:
    """Validate the table; return the task and the table with text ids, labels of that task and known split names."""
    missing = [column for column in REQUIRED if column not in clips]
    if missing:
        raise ManifestError(
            f"{name}: the manifest has no column {missing[0]!r} (columns: {', '.join(map(str, clips))})"
        )
    if clips.empty:
        raise ManifestError(f"{name}: no clips found")
    known = [column for column in OPTIONAL if column in clips and not clips[column].isna().all()]
    clips = clips[[*REQUIRED, *known]].reset_index(drop=True)
    labels = clips["label"].tolist()
    task = task or task_of(labels)
    for column in (*REQUIRED, "fold", "split", "group"):
        if column in clips and (column != "label" or task == "single-label"):
            clips[column] = _texts(name, column, clips[column].tolist())
    if task != "single-label":
        clips["label"] = _labels(name, labels, task)
    duplicated = clips["id"][clips["id"].duplicated()]
    if len(duplicated):
        raise ManifestError(
            f"{name}: {duplicated.nunique()} duplicate id(s), first {duplicated.iloc[0]!r}; give each row its own `id`"
        )
    if "split" in clips:
        clips["split"] = clips["split"].map(_split_name)
        unknown = clips["split"][~clips["split"].isin(SPLITS)]
        if len(unknown):
            clip = clips["id"][unknown.index[0]]
            raise ManifestError(f"{name}: unknown split {unknown.iloc[0]!r} of {clip!r}; use {', '.join(SPLITS)}")
    if "fold" in clips and clips["fold"].str.fullmatch(r"[+-]?[0-9]{1,9}(\.0*)?").all():
        clips["fold"] = clips["fold"].astype("float64").astype("int64")
    for column in ("start_s", "duration_s"):
        if column in clips:
            clips[column] = _seconds(name, column, clips)
    return task, clips


def _labels(name: str, values: list[object], task: Task) -> pd.Series:
    """Convert labels that are lists of names, or numbers."""
    import pandas as pd

    rows = [f"row {row}" for row in range(1, len(values) + 1)]
    for row, value in zip(rows, values, strict=True):
        if value is None or value is pd.NA or (isinstance(value, float) and value != value):
            raise ManifestError(f"{name}: {row} has no label")
    check_alike(rows, values, name)
    found = read_labels(rows, values, task, name)
    if task == "regression":
        return pd.Series(found, dtype="float64")
    if not any(found):
        raise ManifestError(f"{name}: every clip's list of labels is empty; task multi-label needs a class")
    _texts(name, "label", sorted({label for labels in found for label in labels}))  # type: ignore[union-attr]
    return pd.Series(found, dtype=object)


def _texts(name: str, column: str, values: list[object]) -> list[str]:
    """Convert a column's cells to text; each must be non-empty, valid UTF-8 and without NUL."""
    import pandas as pd

    texts = []
    for row, value in enumerate(values, 1):
        if isinstance(value, list | tuple | set | np.ndarray):
            raise ManifestError(f"{name}: row {row} has {list(value)!r} as {column}, not text or a number")
        if value is None or value is pd.NA or value != value or not str(value).strip():
            raise ManifestError(f"{name}: row {row} has no {column}")
        text = str(value)
        if "\0" in text or text.encode("utf-8", "replace").decode("utf-8") != text:
            raise ManifestError(f"{name}: row {row} has the {column} {text!r}, which is not UTF-8 text; rename it")
        texts.append(text)
    return texts


def _split_name(value: object) -> str:
    text = str(value).strip().lower()
    return SPLIT_ALIASES.get(text, text)


def _seconds(name: str, column: str, clips: pd.DataFrame) -> pd.Series:
    """Convert a column of seconds to floats; empty cells become NaN."""
    import pandas as pd

    values = pd.to_numeric(clips[column], errors="coerce").astype("float64")
    bad = (values.isna() & clips[column].notna()) | (values < 0) | np.isinf(values)
    if column == "duration_s":
        bad |= values == 0
    if bad.any():
        row = int(bad.to_numpy().argmax())
        clip, value = clips["id"].iat[row], clips[column].iat[row]
        raise ManifestError(f"{name}: {column} of {clip!r} is {value!r}, not a length in seconds")
    return values
