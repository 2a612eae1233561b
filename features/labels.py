"""What stands in a `label` column: class names, lists of them, or numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from numbers import Real
from typing import Literal

import numpy as np

from features.errors import ManifestError

Task = Literal["single-label", "multi-label", "regression"]
"""What a label is: one class of C, any number of C classes, or a number."""

SEPARATORS = re.compile("[;,]")
Label = str | tuple[str, ...] | float


def task_of(values: Sequence[object]) -> Task:
    """Find what the labels ask for.

    Lists of names: `multi-label`. Numbers of which one is not whole: `regression`. Anything else,
    whole numbers included, names classes: `single-label`.

    Args:
        values: Cells as they were read, none converted to text.
    """
    if any(map(_is_list, values)):
        return "multi-label"
    numbers = values and all(isinstance(value, Real) and not isinstance(value, bool | np.bool_) for value in values)
    if numbers and not all(float(value).is_integer() for value in values):  # type: ignore[arg-type]
        return "regression"
    return "single-label"


def read_label(value: object, task: Task) -> Label:
    """One cell's label.

    Args:
        value: Text, a number or a list; text may also hold a JSON list or a number where the task wants one.
        task: What the column asks for. In `multi-label`, other text is split at `;` and `,`.

    Returns:
        A class name; sorted distinct class names, none of them where the list is empty (a clip of no
        class); or a finite number.

    Raises:
        ValueError: It does not fit the task; the message says what would.
    """
    if task == "single-label":
        if _is_list(value) or isinstance(value, dict | bytes):
            raise ValueError(f"{_plain(value)!r}, not text or a number")
        return str(value)
    if task == "regression":
        try:
            number = math.nan if isinstance(value, bool | np.bool_) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{_plain(value)!r}, not a finite number as task regression needs")
        return number
    if isinstance(value, str):
        parts = [part.strip() for part in SEPARATORS.split(value)]
        listed = json_list(value)
        value = [part for part in parts if part] if listed is None else listed
    if not _is_list(value):
        raise ValueError(f"{_plain(value)!r}, not a list of class names as task multi-label needs")
    names = set()
    for name in value:  # type: ignore[attr-defined]
        if not isinstance(name, str | int | float | np.integer | np.floating) or name != name or not str(name).strip():
            raise ValueError(f"{_plain(value)!r}, which holds {_plain(name)!r} where a class name should be")
        names.add(str(name))
    return tuple(sorted(names))


def read_labels(places: Sequence[str], values: Sequence[object], task: Task, where: str) -> list[Label]:
    """The labels of a whole column.

    Args:
        places: What to call each row in errors.
        values: Cells as they were read.
        task: What the column asks for.
        where: The file or data set, for errors.

    Raises:
        ManifestError: A cell does not fit the task; names its row.
    """
    labels = []
    for place, value in zip(places, values, strict=True):
        try:
            labels.append(read_label(value, task))
        except ValueError as error:
            raise ManifestError(f"{where}: {place} has as label {error}") from None
    return labels


def read_text_cells(cells: Sequence[str]) -> list[object]:
    """Cells of a file that knows text only, as what they hold.

    Returns:
        Lists for JSON lists, where there are any; numbers, where all cells are and one is not whole; else
        the cells as they are.
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
    """The list that text is JSON of; None where it is not."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def check_alike(places: Sequence[str], values: Sequence[object], where: str) -> None:
    """Refuse a column in which some cells are lists and others are not.

    Raises:
        ManifestError: Names the first of each.
    """
    lists = [_is_list(value) for value in values]
    if any(lists) and not all(lists):
        one, other = lists.index(True), lists.index(False)
        raise ManifestError(
            f"{where}: {places[one]} has {_plain(values[one])!r} as label and {places[other]} {values[other]!r}; "
            "write a list in every row, or set dataset.task"
        )


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)


def _plain(value: object) -> object:
    """As people write it."""
    return list(value) if _is_list(value) else value  # type: ignore[call-overload]
