"""The labelled clips of a corpus: one table, checked once, that every stage reads."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from features.errors import ManifestError
from features.labels import Task, check_alike, read_labels, task_of

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
        name: The dataset's label in tables and its cache folder.
        root: The folder that relative paths in `clips` start from.
        clips: Columns `id`, `path`, `label` and, where known, `fold`, `split` (`train`, `valid`,
            `test`), `group` (speaker or source recording), `start_s` and `duration_s` in seconds.
            All are text, but for the seconds, for folds that are whole numbers and for labels that the
            task makes tuples of text (`multi-label`, sorted; empty for a clip of no class) or float64
            (`regression`). The index is 0…N-1; "row" always means a position in it.
        task: What the labels ask for. Found from them where it is not given, see `features.labels.task_of`.

    Raises:
        ManifestError: No clips, a missing column or value, text that is not UTF-8, duplicate ids, an
            unknown split name, a segment that starts before 0 or has no length, a label that does not
            fit the task, no class at all.
    """

    name: str
    root: Path
    clips: pd.DataFrame
    task: Task = None  # type: ignore[assignment]  # never None once made

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
        """The class names in their fixed (sorted) order; none in regression."""
        if self.task == "regression":
            return []
        if self.task == "multi-label":
            return sorted(set().union(*self.clips["label"]))
        return sorted(self.clips["label"].unique())

    def path_of(self, row: int) -> Path:
        """Where the audio of one row lies."""
        return self.root / str(self.clips["path"].iat[row])

    def paths(self) -> Iterator[str]:
        """Where the audio of each row lies."""
        return (str(self.root / path) for path in self.clips["path"])

    def segment_of(self, row: int) -> tuple[float, float | None]:
        """Start and duration (None: to the end) of one row's segment in its file, in seconds."""
        start, duration = (
            cast(float, self.clips[column].iat[row]) if column in self.clips else math.nan
            for column in ("start_s", "duration_s")
        )
        return 0.0 if math.isnan(start) else float(start), None if math.isnan(duration) else float(duration)

    def segments(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and durations (NaN: to the end) of all rows' segments in their files, in seconds."""
        import pandas as pd

        given = (self.clips.get(column, pd.Series(np.nan, self.clips.index)) for column in ("start_s", "duration_s"))
        starts, durations = (column.to_numpy(np.float64) for column in given)
        return np.nan_to_num(starts), durations

    def write_csv(self, path: Path) -> None:
        """Write the table; `features.datasets` reads it back as kind `csv`.

        Ids stay as they are. Relative paths are written anew, to start from the CSV's own folder. Lists
        of labels are written as JSON. Where labels look like another task's (class names such as 1.5,
        only whole numbers to predict), the reader needs to be told the `task`.
        """
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        table = self.clips.assign(path=_moved(self.clips["path"], self.root.resolve(), folder.resolve()))
        if self.task == "multi-label":
            table["label"] = [json.dumps(names, ensure_ascii=False) for names in table["label"]]
        texts = table[[column for column in ("id", "path", "label", "fold", "group") if column in table]]
        # The csv module of Python before 3.13 leaves a lone carriage return unquoted.
        bare = any(texts[column].astype(str).str.contains("\r", regex=False).any() for column in texts)
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            table.to_csv(
                file, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
            )


def _moved(paths: pd.Series, root: Path, folder: Path) -> list[str]:
    """Paths that start from `root`, rewritten to start from `folder`; absolute where no way leads there."""
    try:
        way = Path(os.path.relpath(root, folder))
    except ValueError:  # another drive
        way = root
    return [(way / path).as_posix() for path in paths]


def _canonical(name: str, clips: pd.DataFrame, task: Task | None) -> tuple[Task, pd.DataFrame]:
    """The task, and the table with text ids, labels of that task, known split names and nothing missing."""
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
    """Labels that are lists of names, or numbers."""
    import pandas as pd

    places = [f"row {row}" for row in range(1, len(values) + 1)]
    for place, value in zip(places, values, strict=True):
        if value is None or value is pd.NA or (isinstance(value, float) and value != value):
            raise ManifestError(f"{name}: {place} has no label")
    check_alike(places, values, name)
    found = read_labels(places, values, task, name)
    if task == "regression":
        return pd.Series(found, dtype="float64")
    if not any(found):
        raise ManifestError(f"{name}: every clip's list of labels is empty; task multi-label needs a class")
    _texts(name, "label", sorted({label for labels in found for label in labels}))  # type: ignore[union-attr]
    return pd.Series(found, dtype=object)


def _texts(name: str, column: str, values: list[object]) -> list[str]:
    """A column's cells as text, none empty and all fit for a file."""
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
    """A column of seconds as floats; empty cells stay NaN."""
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
