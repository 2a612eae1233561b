"""Numbers of the tables as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "–"


def number_text(value: float | None) -> str:
    """Return a number with three decimals; `MISSING` for None and nan."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.3f}"


def estimate_text(row: Mapping[str, Any], name: str) -> str:
    """Return a score of a row with its interval, if the row has one: `0.913 (0.882–0.940)`."""
    value, low, high = (number_text(row.get(f"{name}{end}")) for end in ("", "_ci_low", "_ci_high"))
    return value if MISSING in (low, high) else f"{value} ({low}–{high})"
