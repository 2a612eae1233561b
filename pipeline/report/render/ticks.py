"""Ticks of logarithmic axes. Those of the drawing libraries are too few below a decade or are powers of ten."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

STEPS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 2, 3, 5, 7),
    (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
)
ENOUGH, TOO_MANY = 4, 10


def log_range(values: Iterable[float], margin: float = 0.06) -> tuple[float, float]:
    """Return limits around positive values, with a margin on the log scale; a factor of two around a single value."""
    logs = [math.log10(value) for value in values]
    low, high = min(logs), max(logs)
    if high - low < 0.02:
        return 10**low / 2, 10**high * 2
    space = margin * (high - low)
    return 10 ** (low - space), 10 ** (high + space)


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two positive numbers, from the coarsest steps that give at least `ENOUGH` ticks."""
    found: list[float] = []
    for steps in STEPS:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        finer = [step * 10.0**decade for decade in decades for step in steps]
        finer = [value for value in finer if low <= value <= high]
        if len(finer) > TOO_MANY and found:
            break
        found = finer
        if len(found) >= ENOUGH:
            break
    if len(found) >= ENOUGH - 1:
        return found
    return _linear_ticks(low, high)


def _linear_ticks(low: float, high: float) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten, for narrow ranges."""
    widest = (high - low) / (ENOUGH - 1)
    size = 10 ** math.floor(math.log10(widest))
    step = size * next(one for one in (5, 2, 1) if one * size <= widest)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(value) for value in np.arange(first, last + 1) * step]


def compact(value: float) -> str:
    """Return the text of a tick, such as `0.05`, `20`, `5k`, `1M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9999:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"
