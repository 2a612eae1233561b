"""Results of benchmarks: figures with their goals."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        what: Description of the measurement.
        value: The figure.
        unit: Its unit, such as `× torchvggish loop` or `s`.
        at_least: Lower limit; None: no limit.
        at_most: Upper limit; None: no limit.
        details: Other measurements, by name.
    """

    what: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the limits are met; None without limits."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def cells(self) -> tuple[str, ...]:
        """Return the line as text: what, figure, goal, whether it is met, details."""
        goal = f"≥ {self.at_least:g}" if self.at_least is not None else ""
        goal = f"≤ {self.at_most:g}" if self.at_most is not None else goal
        verdict = {True: "yes", False: "no", None: ""}[self.met]
        notes = ", ".join(f"{name} {_short(value)}" for name, value in self.details.items())
        return self.what, f"{_short(self.value)} {self.unit}", goal, verdict, notes


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def timed_rounds(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[list[float], Any]]:
    """Run all ways alternately, `rounds` times; return the seconds of each round and the last result of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            results[name] = way()
            seconds[name].append(time.perf_counter() - started)
    return {name: (seconds[name], results[name]) for name in ways}


def ratio(baseline: list[float], ours: list[float]) -> float:
    """Return the speed-up: the median over rounds of the ratio within a round."""
    return statistics.median(theirs / mine for theirs, mine in zip(baseline, ours, strict=True))


def growth_text(now: tuple[int, float], before: tuple[int, float] | None) -> str:
    """Return the growth exponent between two measurements, (size, seconds); empty if there is nothing to compare."""
    if before is None or min(now[1], before[1]) <= 0:
        return ""
    return f"{math.log(now[1] / before[1]) / math.log(now[0] / before[0]):.2f}"
