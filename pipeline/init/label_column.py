"""Guess which column of a table holds the classes if none has a usual name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.datasets.tables.columns import ASKED, NAMES, choose_columns, nearly, plain
from features.errors import ManifestError
from pipeline.init.found import Found

if TYPE_CHECKING:
    import pandas as pd

CLIPS_PER_CLASS = 3  # on average, in a column of classes; columns with fewer look like names or remarks


@dataclass
class LabelGuess:
    """Columns that could hold the classes.

    Attributes:
        column: The likeliest one.
        others: Further ones, in the table's order.
        n_classes: Different values in `column`.
    """

    column: str
    others: list[str]
    n_classes: int

    @property
    def note(self) -> str:
        """Say what was guessed and how to correct it."""
        return (
            f"no column has a usual name for classes, so {self.column!r} with {self.n_classes} values is a guess; "
            "if it is wrong, set dataset.label_column to the right column"
        )


def guess_label_column(file: Path, cells: pd.DataFrame) -> LabelGuess | None:
    """Return the columns whose values recur often enough to be classes; None if the label is known or nothing fits.

    Columns that are read as something else, or nearly have the name of a fold, split or group, are no candidates.
    """
    try:
        known = choose_columns(str(file), cells, {}, ()).names
    except ManifestError:
        return None
    if "label" in known:
        return None
    counts = {
        str(name): cells[name].nunique()
        for name in cells
        if name not in known.values() and not _otherwise_named(str(name)) and _recurs(cells[name])
    }
    if not counts:
        return None
    column, *others = counts
    return LabelGuess(column, others, counts[column])


def folders_are_groups(table: Found, folders: Found) -> bool:
    """Whether folders divide the clips of a table exactly as its groups do, so that they are no classes."""
    clips = table.manifest.clips
    if "group" not in clips:
        return False
    labels = dict(zip(_resolved(folders), folders.manifest.clips["label"], strict=True))
    pairs = {(labels.get(file), group) for file, group in zip(_resolved(table), clips["group"], strict=True)}
    return len(pairs) == len({label for label, _ in pairs}) == len({group for _, group in pairs}) > 1


def _resolved(found: Found) -> Sequence[Path]:
    return [Path(path).resolve() for path in found.manifest.paths()]


def _otherwise_named(name: str) -> bool:
    return any(plain(name) in NAMES[role] or nearly(name, role) for role in ASKED)


def _recurs(cells: pd.Series) -> bool:
    """Whether every cell is filled with text or a whole number, and values recur."""
    texts = [str(cell) for cell in cells if isinstance(cell, str | int)]
    if len(texts) < len(cells) or not all(text.strip() for text in texts):
        return False
    return 2 <= len(set(texts)) <= len(texts) / CLIPS_PER_CLASS and not all("." in text for text in texts)
