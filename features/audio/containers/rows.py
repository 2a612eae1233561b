"""Names of audio in the rows of a table: `audio/12/dog.wav` is row 12 of the column `audio`, called `dog.wav` there."""

from __future__ import annotations

import re

_ROW = re.compile(r"(.+?)/(\d+)(?:/(.*))?", re.DOTALL)


def row_name(column: str, row: int, name: str | None = None) -> str:
    """Return the member's name of a row, counted from 0.

    Args:
        column: The column with the audio.
        row: The row.
        name: A file name stored with the audio, for people and for its suffix.
    """
    base = (name or "").replace("\\", "/").rpartition("/")[2]
    return f"{column}/{row}/{base}" if base else f"{column}/{row}"


def parse_row_name(member: str) -> tuple[str, int] | None:
    """Return column and row of a member's name; None if it is not such a name."""
    match = _ROW.fullmatch(member)
    return None if match is None else (match[1], int(match[2]))
