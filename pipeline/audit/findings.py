"""Audit findings; the kind of a finding decides whether it is an error, a warning or a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
# Severity of each kind of finding, by default and under `--strict`.
KINDS: dict[str, tuple[Severity, Severity]] = {
    "protocol": ("error", "error"),
    "parted-groups": ("error", "error"),
    "mostly-unreadable": ("error", "error"),
    "unreadable": ("warning", "error"),
    "group-overlap": ("warning", "error"),
    "audio-overlap": ("warning", "error"),
    "conflicting-labels": ("warning", "error"),
    "near-duplicates-across": ("warning", "warning"),
    "splits": ("warning", "warning"),
    "similar-labels": ("warning", "warning"),
    "imbalance": ("warning", "warning"),
    "identical-audio": ("note", "note"),
    "near-duplicates": ("note", "note"),
    "not-compared": ("note", "note"),
    "task": ("warning", "warning"),
    "groups": ("note", "note"),
    "durations": ("note", "note"),
    "sample-rates": ("note", "note"),
}


@dataclass(frozen=True)
class Finding:
    """One finding of an audit.

    Attributes:
        kind: One of `KINDS`.
        severity: `error`, `warning` or `note`.
        message: A sentence with counts and an example.
        count: Number of affected items.
        items: Affected items as JSON values: groups, ids, or lists of ids.
    """

    kind: str
    severity: Severity
    message: str
    count: int = 1
    items: tuple[Any, ...] = ()


def finding(kind: str, message: str, *, strict: bool = False, count: int = 1, items: Sequence[Any] = ()) -> Finding:
    """Return a finding with the severity that `KINDS` assigns to its kind."""
    return Finding(kind, KINDS[kind][strict], message, count, tuple(items))
