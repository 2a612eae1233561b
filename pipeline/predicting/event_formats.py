"""Write events as CSV, Audacity labels or a Raven selection table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from features.errors import UserError
from pipeline.predicting.events import Event
from pipeline.predicting.output_formats import plain
from pipeline.results.run_folder import write_text

EventFormat = Literal["csv", "audacity", "raven"]
COLUMNS = ("id", "onset_s", "offset_s", "label", "score")
RAVEN_SUFFIXES = (".selections.txt", ".tsv")


def event_format(path: Path, requested: str | None) -> EventFormat:
    """Return the requested format, or else the one of the suffix.

    Raises:
        UserError: The format or the suffix is unknown.
    """
    if requested is not None:
        if requested not in get_args(EventFormat):
            raise UserError(f"--events-format {requested}: use {', '.join(get_args(EventFormat))}")
        return requested  # type: ignore[return-value]
    name = path.name.lower()
    if name.endswith(RAVEN_SUFFIXES):
        return "raven"
    if path.suffix.lower() in (".csv", ".txt"):
        return "csv" if path.suffix.lower() == ".csv" else "audacity"
    raise UserError(
        f"--events {path}: unknown suffix; use .csv, .txt (Audacity), .selections.txt (Raven) or --events-format"
    )


def check_recordings(kind: EventFormat, recordings: Sequence[str]) -> None:
    """Check that a format can hold the events of some recordings.

    Raises:
        UserError: Audacity labels would mix several recordings.
    """
    if kind == "audacity" and len(set(recordings)) > 1:
        raise UserError(
            f"--events-format audacity: a label file belongs to one recording, got {len(set(recordings))}; predict one "
            "at a time, or use csv or raven"
        )


def write_events(events: Sequence[Event], kind: EventFormat, path: Path) -> None:
    """Write events to a file, atomically.

    Raises:
        RunError: The file cannot be written.
    """
    write_text(path, _FORMATS[kind](events))


def _csv(events: Sequence[Event]) -> str:
    """One row per event; text is made safe for spreadsheets as in the table of windows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([plain(getattr(event, name)) for name in COLUMNS] for event in events)
    return text.getvalue()


def _audacity(events: Sequence[Event]) -> str:
    """Lines of start, end and label, separated by tabs."""
    return "".join(f"{event.onset_s:.6f}\t{event.offset_s:.6f}\t{_cell(event.label)}\n" for event in events)


def _raven(events: Sequence[Event]) -> str:
    """A selection table for the spectrogram view; times count from the start of each event's file."""
    head = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Begin File", "File Offset (s)")
    lines = ["\t".join((*head, "Annotation", "Score"))]
    for number, event in enumerate(events, 1):
        file = _cell(Path(event.id).name)
        times = f"{event.onset_s:.6f}\t{event.offset_s:.6f}\t{file}\t{event.onset_s:.6f}"
        lines.append(f"{number}\tSpectrogram 1\t1\t{times}\t{_cell(event.label)}\t{event.score:.6g}")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return text without the characters that separate cells and lines."""
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())


_FORMATS: dict[EventFormat, Callable[[Sequence[Event]], str]] = {"csv": _csv, "audacity": _audacity, "raven": _raven}
