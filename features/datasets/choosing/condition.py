"""A condition on a column, such as `snr_db > 10`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError, ManifestError
from features.manifest import OPTIONAL, REQUIRED

if TYPE_CHECKING:
    import pandas as pd

_OPERATORS = r"==|!=|<=|>=|=|<|>|\snot\s+in\s|\sin\s"
_FORM = re.compile(rf"\s*(?P<column>\"[^\"]+\"|'[^']+'|[^=!<>].*?)\s*(?P<operator>{_OPERATORS})\s*(?P<value>.*?)\s*")
_PADDED = re.compile(r"[+-]?0\d.*")  # such as 007: a name, not a number
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda cell, value: cell < value,
    "<=": lambda cell, value: cell <= value,
    ">": lambda cell, value: cell > value,
    ">=": lambda cell, value: cell >= value,
}
EXAMPLE = "a column, one of == != < <= > >= in `not in`, and a value, such as `snr_db > 10` or `lang in [en, de]`"
EMPTY = "null"
SHOWN = 5


@dataclass
class Condition:
    """A condition that a clip must meet, and how many clips were asked.

    Attributes:
        text: As written.
        column: The column.
        operator: `==`, `!=`, `<`, `<=`, `>`, `>=`, `in` or `not in`.
        values: The value, or those of a list. `null` matches an empty cell.
        asked: Clips that were compared.
        kept: Clips that meet it.
    """

    text: str
    column: str
    operator: str
    values: tuple[str, ...]
    asked: int = field(default=0, compare=False)
    kept: int = field(default=0, compare=False)

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            ValueError: The text is no condition; the message shows one.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is no condition: write {EXAMPLE}")
        operator = "==" if found["operator"] == "=" else " ".join(found["operator"].split())
        written = found["value"]
        if operator in ("in", "not in"):
            if not (written.startswith("[") and written.endswith("]")):
                raise ValueError(f"{text!r}: `{operator}` needs a list, such as `{found['column']} in [a, b]`")
            values = tuple(_unquoted(part) for part in written[1:-1].split(","))
        else:
            values = (_unquoted(written),)
        if operator in COMPARISONS and _number(values[0]) is None:
            raise ValueError(f"{text!r}: {operator} compares numbers, and {values[0]!r} is none")
        return cls(text, _unquoted(found["column"]), operator, values)

    def rows(self, where: str, table: pd.DataFrame, places: Iterable[object]) -> list[bool]:
        """Return for each row of a table whether it meets the condition, and count them.

        Args:
            where: The table, for messages.
            table: Cells; the column must exist.
            places: The name of each row, for messages.

        Raises:
            ManifestError: A cell that must be compared is no number; the message names its row.
        """
        met = [self._meets(where, cell, place) for cell, place in zip(table[self.column], places, strict=True)]
        self.asked += len(met)
        self.kept += sum(met)
        return met

    def nothing(self, where: str, cells: Sequence[object]) -> ManifestError:
        """Return the error for a condition that no clip meets."""
        held = list(dict.fromkeys(EMPTY if _is_empty(cell) else str(cell) for cell in cells))
        more = f" and {len(held) - SHOWN} other values" if len(held) > SHOWN else ""
        return ManifestError(
            f"{where}: no clip meets dataset.where `{self.text}`; {self.column} holds {', '.join(held[:SHOWN])}{more}"
        )

    def no_column(self, where: str, table: pd.DataFrame) -> ConfigError:
        """Return the error for a column that does not exist."""
        names = list(map(str, table))
        close = difflib.get_close_matches(self.column, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"columns: {', '.join(names)}"
        return ConfigError(f"{where}: dataset.where `{self.text}`: no column {self.column!r}, {hint}")

    def _meets(self, where: str, cell: object, place: object) -> bool:
        if self.operator in COMPARISONS:
            if _is_empty(cell):
                return False
            number, value = _number(cell), _number(self.values[0])
            if number is None:
                raise ManifestError(
                    f"{where}: {place} has {cell!r} as {self.column}, which dataset.where `{self.text}` cannot compare"
                )
            return COMPARISONS[self.operator](number, value)
        equal = any(_equal(cell, value) for value in self.values)
        return equal == (self.operator in ("==", "in"))


def meeting(where: str, cells: pd.DataFrame, conditions: Sequence[Condition]) -> pd.DataFrame:
    """Return the rows of a table that meet the conditions on its columns; other conditions are left to the caller.

    Args:
        where: The table, for messages.
        cells: Cells as they were read; the index names the rows.
        conditions: Any conditions.

    Raises:
        ConfigError: Neither the table nor a manifest has the column.
        ManifestError: No row is left, or a cell cannot be compared.
    """
    for condition in conditions:
        if condition.column in cells:
            met = condition.rows(where, cells, cells.index)
            if not any(met):
                raise condition.nothing(where, cells[condition.column].tolist())
            cells = cells[met]
        elif condition.column not in (*REQUIRED, *OPTIONAL):
            raise condition.no_column(where, cells)
    return cells


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _is_empty(cell: object) -> bool:
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())


def _equal(cell: object, value: str) -> bool:
    """Compare as numbers if both are numbers, else as text; `null` is an empty cell."""
    if _is_empty(cell) or value == EMPTY:
        return _is_empty(cell) and value == EMPTY
    if isinstance(cell, bool):
        return str(cell).lower() == value.lower()
    if isinstance(cell, list | tuple):
        return value in map(str, cell)
    text = str(cell).strip()
    if text == value or _PADDED.fullmatch(text) or _PADDED.fullmatch(value):
        return text == value
    number = _number(cell)
    return number is not None and number == _number(value)


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
