"""The contents of a `label` column: class names, lists of class names, or numbers."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Literal

import numpy as np

from features.errors import ManifestError

Task = Literal["single-label", "multi-label", "regression"]
"""The kind of labels: one of C classes, any number of C classes, or a number."""

SEPARATORS = re.compile("[;,]")
SHOWN = 3  # sets of similar labels in a message
Label = str | tuple[str, ...] | float


def task_of(values: Sequence[object]) -> Task:
    """Infer the task from the labels.

    Lists mean `multi-label`. Numbers that are not all whole mean `regression`. Anything else, including
    whole numbers, is a class name and means `single-label`.

    Args:
        values: Cells as they were read, not converted to text.
    """
    if any(map(_is_list, values)):
        return "multi-label"
    numbers = values and all(isinstance(value, Real) and not isinstance(value, bool | np.bool_) for value in values)
    if numbers and not all(float(value).is_integer() for value in values):  # type: ignore[arg-type]
        return "regression"
    return "single-label"


def read_label(value: object, task: Task) -> Label:
    """Convert one cell to a label.

    Args:
        value: Text, a number or a list. Text may also contain a JSON list or a number if the task needs it.
        task: The task of the column. In `multi-label`, other text is split at `;` and `,`.

    Returns:
        A class name; a tuple of sorted distinct class names, which may be empty; or a finite number.

    Raises:
        ValueError: The cell does not fit the task; the message states what is expected.
    """
    if task == "single-label":
        if _is_list(value) or isinstance(value, dict | bytes):
            raise ValueError(f"{_plain(value)!r}, expected text or a number")
        return str(value)
    if task == "regression":
        try:
            number = math.nan if isinstance(value, bool | np.bool_) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{_plain(value)!r}, but task regression needs a finite number")
        return number
    if isinstance(value, str):
        parts = [part.strip() for part in SEPARATORS.split(value)]
        listed = json_list(value)
        value = [part for part in parts if part] if listed is None else listed
    if not _is_list(value):
        raise ValueError(f"{_plain(value)!r}, but task multi-label needs a list of class names")
    names = set()
    for name in value:  # type: ignore[attr-defined]
        if not isinstance(name, str | int | float | np.integer | np.floating) or name != name or not str(name).strip():
            raise ValueError(f"{_plain(value)!r}, which contains {_plain(name)!r} instead of a class name")
        names.add(str(name))
    return tuple(sorted(names))


def read_labels(places: Sequence[str], values: Sequence[object], task: Task, where: str) -> list[Label]:
    """Convert a whole column to labels.

    Args:
        places: The name of each row, for error messages.
        values: Cells as they were read.
        task: The task of the column.
        where: The file or dataset, for error messages.

    Raises:
        ManifestError: A cell does not fit the task; the message names its row.
    """
    labels = []
    for place, value in zip(places, values, strict=True):
        try:
            labels.append(read_label(value, task))
        except ValueError as error:
            raise ManifestError(f"{where}: {place} has the label {error}") from None
    return labels


def read_text_cells(cells: Sequence[str]) -> list[object]:
    """Convert the cells of a file that contains only text.

    Returns:
        If any cell is a JSON list: the cells with JSON lists converted. If all cells are numbers and not all
        are whole: numbers. Otherwise the cells unchanged.
    """
    lists = [json_list(cell) for cell in cells]
    if any(one is not None for one in lists):
        return [cell if one is None else one for cell, one in zip(cells, lists, strict=True)]
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return list(cells)
    finite = [number for number in numbers if math.isfinite(number)]
    return list(cells) if all(number.is_integer() for number in finite) else list(numbers)


def json_list(text: str) -> list[object] | None:
    """Parse text as a JSON list; None if it is not one."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def check_alike(places: Sequence[str], values: Sequence[object], where: str) -> None:
    """Check that either all cells of a column are lists or none.

    Args:
        places: The name of each row, for error messages.
        values: Cells as they were read.
        where: The file or dataset, for error messages.

    Raises:
        ManifestError: The column is mixed; the message names the first row of each kind.
    """
    lists = [_is_list(value) for value in values]
    if any(lists) and not all(lists):
        one, other = lists.index(True), lists.index(False)
        raise ManifestError(
            f"{where}: {places[one]} has the label {_plain(values[one])!r} and {places[other]} {values[other]!r}; "
            "write a list in every row, or set dataset.task"
        )


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)


def _plain(value: object) -> object:
    """Return sets, tuples and arrays as lists, for messages."""
    return list(value) if _is_list(value) else value  # type: ignore[call-overload]


def similar_labels(counts: Mapping[str, int]) -> list[list[str]]:
    """Return class names that differ only by case, blanks or invisible characters, the most frequent of each set first.

    Args:
        counts: Class name -> number of clips.
    """
    sets: dict[str, list[str]] = {}
    for name in sorted(counts, key=lambda one: (-counts[one], one)):
        visible = (c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) not in ("Cc", "Cf"))
        sets.setdefault("".join("".join(visible).casefold().split()), []).append(name)
    return [names for names in sets.values() if len(names) > 1]


def similar_labels_text(where: str, counts: Mapping[str, int]) -> str:
    """Return one sentence that names labels which look the same, and how to merge them; empty if there are none."""
    found = similar_labels(counts)
    if not found:
        return ""
    shown = "; ".join(" and ".join(f"{name!r} ({counts[name]} clips)" for name in names) for names in found[:SHOWN])
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    merged = {other: found[0][0] for other in found[0][1:]}
    pairs = ", ".join(f"{json.dumps(other)}: {json.dumps(name)}" for other, name in merged.items())
    return (
        f"{where}: labels that differ only by case or blanks are separate classes: {shown}{more}; to merge them, set "
        f"dataset.rename: {{{pairs}}}"
    )
