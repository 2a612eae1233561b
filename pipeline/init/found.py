"""One reading of a folder or table as labelled clips, and its alternatives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from features.manifest import Manifest

_READERS = "features.datasets"


@contextmanager
def heard() -> Iterator[list[logging.LogRecord]]:
    """Keep back what readers log within the block, since most are only tried."""
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, keeper, before = logging.getLogger(_READERS), Keeper(), logging.getLogger(_READERS).propagate
    logger.addHandler(keeper)
    logger.propagate = False
    try:
        yield records
    finally:
        logger.removeHandler(keeper)
        logger.propagate = before


@dataclass
class Proposal:
    """A line that could be added to the `dataset` section.

    Attributes:
        key: The option.
        value: Its value.
        why: What it means and what is gained.
    """

    key: str
    value: Any
    why: str


@dataclass
class Reading:
    """Another way to read the same folder.

    Attributes:
        what: What it is, for the config's comments.
        options: The `dataset` section.
    """

    what: str
    options: dict[str, Any]


@dataclass
class Found:
    """The recognised dataset.

    Attributes:
        options: The config's `dataset` section.
        manifest: The clips.
        what: Description for the config's comments.
        notes: Hints on what to check, for the config's comments.
        table: A manifest to write to `options["root"]` first; None: nothing to write.
        proposals: Further options, which the config lists as comments.
        others: Other readings of the folder, which the config lists as comments.
        guess: Whether labels are guessed, so that a person has to check them.
        records: What the reader logged.
    """

    options: dict[str, Any]
    manifest: Manifest
    what: str
    notes: list[str] = field(default_factory=list)
    table: Manifest | None = None
    proposals: list[Proposal] = field(default_factory=list)
    others: list[Reading] = field(default_factory=list)
    guess: bool = False
    records: list[logging.LogRecord] = field(default_factory=list)

    def say(self) -> None:
        """Log what the reader logged, if this reading is chosen."""
        for record in self.records:
            logging.getLogger(record.name).handle(record)

    def reading(self) -> Reading:
        """Return this as an alternative to another reading."""
        n_classes = f", {len(self.manifest.labels)} classes" if self.manifest.task != "regression" else ""
        return Reading(f"{self.what}: {len(self.manifest)} clips{n_classes}", self.options)
