"""The labelled clips of a corpus: one table, checked once, that every stage reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features.errors import ManifestError

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
            The index is 0…N-1; "row" always means a position in it.

    Raises:
        ManifestError: No clips, a missing column or value, duplicate ids, an unknown split name, a
            segment that starts before 0 or has no length.
    """

    name: str
    root: Path
    clips: pd.DataFrame

    def __post_init__(self) -> None:
        """Check the table and put it in canonical form."""
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "clips", _canonical(self.name, self.clips))

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.clips)

    @property
    def labels(self) -> list[str]:
        """The class names in their fixed (sorted) order."""
        return sorted(self.clips["label"].unique())

    def path_of(self, row: int) -> Path:
        """Where the audio of one row lies."""
        return self.root / str(self.clips["path"].iat[row])

    def segment_of(self, row: int) -> tuple[float, float | None]:
        """Start and duration (None: to the end) of one row's segment in its file, in seconds."""
        start = self.clips["start_s"].iat[row] if "start_s" in self.clips else 0.0
        duration = self.clips["duration_s"].iat[row] if "duration_s" in self.clips else None
        return (
            0.0 if pd.isna(start) else float(start),
            None if duration is None or pd.isna(duration) else float(duration),
        )

    def write_csv(self, path: Path) -> None:
        """Write the table; `features.datasets` reads it back as kind `csv`."""
        self.clips.to_csv(path, index=False)


def _canonical(name: str, clips: pd.DataFrame) -> pd.DataFrame:
    """The table with text ids and labels, known split names and nothing missing."""
    missing = [column for column in REQUIRED if column not in clips]
    if missing:
        raise ManifestError(f"{name}: the manifest has no column {missing[0]!r} (columns: {', '.join(map(str, clips))})")
    if clips.empty:
        raise ManifestError(f"{name}: no clips found")
    columns = [column for column in (*REQUIRED, *OPTIONAL) if column in clips and not clips[column].isna().all()]
    clips = clips[columns].reset_index(drop=True)
    for column in (*REQUIRED, "fold", "split", "group"):
        if column in clips and clips[column].isna().any():
            row = int(clips[column].isna().to_numpy().argmax())
            raise ManifestError(f"{name}: row {row + 1} has no {column}")
    for column in ("id", "path", "label"):
        clips[column] = clips[column].map(str)
    duplicated = clips["id"][clips["id"].duplicated()]
    if len(duplicated):
        raise ManifestError(
            f"{name}: {duplicated.nunique()} duplicate id(s), first {duplicated.iloc[0]!r}; give each row its own `id`"
        )
    if "split" in clips:
        clips["split"] = clips["split"].map(_split_name)
        unknown = clips["split"][~clips["split"].isin(SPLITS)]
        if len(unknown):
            raise ManifestError(f"{name}: unknown split {unknown.iloc[0]!r} of {clips['id'][unknown.index[0]]!r}; use {', '.join(SPLITS)}")
    if "group" in clips:
        clips["group"] = clips["group"].map(str)
    for column in ("start_s", "duration_s"):
        if column in clips:
            clips[column] = _seconds(name, column, clips)
    return clips


def _split_name(value: object) -> str:
    text = str(value).strip().lower()
    return SPLIT_ALIASES.get(text, text)


def _seconds(name: str, column: str, clips: pd.DataFrame) -> pd.Series:
    """A column of seconds as floats; empty cells stay NaN."""
    values = pd.to_numeric(clips[column], errors="coerce")
    bad = (values.isna() & clips[column].notna()) | (values < 0) | ((values == 0) & (column == "duration_s"))
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise ManifestError(f"{name}: {column} of {clips['id'].iat[row]!r} is {clips[column].iat[row]!r}, not a length in seconds")
    return values.astype("float64")
