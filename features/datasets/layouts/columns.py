"""The columns of a layout's own table: which one is the label, the group, the split and so on."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import Field

from features.datasets.options import DatasetOptions
from features.datasets.tables import columns as tables
from features.errors import ManifestError
from features.labels import Task

ROLES = ("label", "group", "fold", "split")


class ColumnOptions(DatasetOptions):
    """Options of layouts whose clips are described by columns or keys."""

    label_column: str | None = Field(
        default=None, description="column with the class (default: one of the usual names)"
    )
    group_column: str | None = Field(default=None, description="column with the speaker or source recording")
    fold_column: str | None = Field(default=None, description="column with the cross-validation fold")
    split_column: str | None = Field(default=None, description="column with train, valid or test")
    task: Task | None = Field(default=None, description="kind of labels (default: from the labels)")


def choose(where: object, names: Collection[str], given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the column of each role.

    Args:
        where: The table, for messages.
        names: Its columns.
        given: `<role>_column` -> a column that the user named; None: look for the usual names.

    Raises:
        ManifestError: A given column is missing.
    """
    found = {}
    for role in ROLES:
        wanted = given.get(f"{role}_column")
        if wanted is not None:
            if wanted not in names:
                raise ManifestError(
                    f"{where}: no column {wanted!r} (dataset.{role}_column); the columns are {_listed(names)}"
                )
            found[role] = wanted
            continue
        by_plain = {tables.plain(name): name for name in reversed(list(names))}
        if name := next((by_plain[one] for one in tables.NAMES[role] if one in by_plain), None):
            found[role] = name
    return found


def no_label(where: object, names: Collection[str]) -> ManifestError:
    """Return the error for a table without a column that looks like the label."""
    return ManifestError(
        f"{where}: no column that looks like the label; the columns are {_listed(names)}, "
        f"looked for {', '.join(tables.NAMES['label'])}; set dataset.label_column to one of them"
    )


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
