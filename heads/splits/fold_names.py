"""The names of folds and their natural order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

import numpy as np

Name = TypeVar("Name", int, str, int | str)


def fold_name(value: object) -> int | str:
    """Normalise a fold name: 1 for 1, 1.0 and "1"; any other text is returned unchanged."""
    text = re.sub(r"^(-?\d+)\.0$", r"\1", str(value))
    return int(text) if re.fullmatch(r"0|-?[1-9]\d*", text) else text


def fold_names(values: Iterable[object]) -> np.ndarray:
    """Return `fold_name` of each value, shape (N,), dtype object."""
    names = [fold_name(value) for value in values]
    out = np.empty(len(names), dtype=object)
    out[:] = names
    return out


def natural_order(names: Iterable[Name]) -> list[Name]:
    """Return the distinct names in natural order: 2 before 10, `fold2` before `fold10`."""
    return sorted(set(names), key=_natural_key)


def _natural_key(name: int | str) -> list[tuple[int, int, str]]:
    if isinstance(name, int):
        return [(0, name, "")]
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]
