"""What an audit has to say: findings, each of a kind that is an error, a warning or a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
# How bad each kind of finding is, and under `--strict`.
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
    "imbalance": ("warning", "warning"),
    "identical-audio": ("note", "note"),
    "near-duplicates": ("note", "note"),
    "not-compared": ("note", "note"),
    "groups": ("note", "note"),
    "durations": ("note", "note"),
    "sample-rates": ("note", "note"),
}


@dataclass(frozen=True)
class Finding:
    """One thing a reader of the results should know.

    Attributes:
        kind: One of `KINDS`.
        severity: `error`, `warning` or `note`.
        message: What it is, with counts and an example, in a sentence.
        count: How many of what the message is about.
        items: What it is about, in JSON values: groups, ids, or lists of ids.
    """

    kind: str
    severity: Severity
    message: str
    count: int = 1
    items: tuple[Any, ...] = ()


def finding(kind: str, message: str, *, strict: bool = False, count: int = 1, items: Sequence[Any] = ()) -> Finding:
    """A finding of a kind, as bad as `KINDS` says."""
    return Finding(kind, KINDS[kind][strict], message, count, tuple(items))
