"""`audioheads backbones ls`: a table of the backbones and presets that a config can name."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from features.backbones import get_record, list_backbones
from features.backbones.loading.availability import Place, missing_extra, where_weights_are
from features.backbones.presets.record import Preset
from features.errors import UserError
from pipeline.console import Console

UNKNOWN, NOTHING = "unknown", "–"
HEADINGS = (
    "name",
    "family",
    "weights",
    "sample_rate_hz",
    "dim",
    "layers",
    "parameters",
    "licence",
    "commercial use",
    "trained on",
    "available",
    "summary",
)
AVAILABLE: dict[Place, str] = {
    "here": "yes",
    "file": "needs its file",
    "hub": "downloads from the hub",
    "web": "downloads from the web",
    "code": "your code",
    "named by the config": "config names it",
}
NUMBERS = ("sample_rate_hz", "dim", "layers", "parameters")
FOLDABLE = ("weights", "trained on", "summary")
SPARE = ("summary", "layers", "parameters", "dim", "commercial use", "trained on", "family")


def print_backbones(console: Console, *, licence: str | None, rate: int | None, available: bool) -> None:
    """Print a row for each backbone and preset; away from a terminal, each is one complete line.

    Args:
        console: Prints the table.
        licence: Pattern (`*` and `?`) for the licence of the weights; None: any.
        rate: Sample rate in Hz; None: any.
        available: Whether to list only those that run without a download or an installation.

    Raises:
        UserError: No row matches the filters.
    """
    rows = [_row(row) for row in list_backbones()]
    filters = {"licence": licence, "sample_rate_hz": None if rate is None else str(rate)}
    for column, pattern in filters.items():
        if pattern is not None:
            kept = [row for row in rows if fnmatchcase(row[column], pattern.casefold())]
            if not kept:
                there = ", ".join(sorted({row[column] for row in rows if row[column] != NOTHING}))
                option = "--licence" if column == "licence" else "--rate"
                raise UserError(f"{option} {pattern}: no backbone matches; available: {there}")
            rows = kept
    if available:
        rows = [row for row in rows if row["available"] == "yes"]
    if not rows:
        raise UserError("--cached: no backbone that matches is on this machine; leave --cached out to see all")
    left_out = console.table(
        HEADINGS, [[row[name] for name in HEADINGS] for row in rows], right=NUMBERS, foldable=FOLDABLE, spare=SPARE
    )
    if left_out:
        console.note(
            f"terminal too narrow for {', '.join(left_out)}; `audioheads backbones show NAME` shows everything"
        )


def availability_of(name: str) -> str:
    """Return `yes`, or what a backbone needs before it runs."""
    if extra := missing_extra(name):
        return f"needs audioheads[{extra}]"
    return AVAILABLE[where_weights_are(name)]


def has_licence(record: Preset) -> bool:
    """Whether weights or features were published by others, so that there is a licence, known or not."""
    return record.trained_on != () or record.licence is not None


def licence_of(record: Preset | None) -> str:
    """Return the licence of weights or features; a dash if there is none to know."""
    if record is None or not has_licence(record):
        return NOTHING
    return record.licence or UNKNOWN


def trained_on(corpora: tuple[str, ...] | None) -> str:
    """Return names of corpora as text."""
    return UNKNOWN if corpora is None else ", ".join(corpora) or NOTHING


def permission(record: Preset | None) -> str:
    """Return whether the licence of some weights allows commercial use; a dash as for the licence."""
    if record is None or not has_licence(record):
        return NOTHING
    return {True: "allowed", False: "not allowed", None: UNKNOWN}[record.commercial_use]


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of a backbone or preset by their headings."""
    record = get_record(row["name"])
    cells = {**row, **{name: getattr(record, name, None) for name in ("dim", "layers", "parameters")}}
    shown = {name: NOTHING if value is None else str(value) for name, value in cells.items()}
    return {
        **shown,
        "licence": licence_of(record),
        "commercial use": permission(record),
        "trained on": NOTHING if record is None else trained_on(record.trained_on),
        "available": availability_of(row["name"]),
    }
