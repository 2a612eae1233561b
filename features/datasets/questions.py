"""Questions about labels that may have been read as another task than the user means."""

from __future__ import annotations

import math

from pydantic import BaseModel

from features.labels import SEPARATORS
from features.manifest import Manifest

MANY_NUMBERS = 20  # more distinct whole numbers are rarely classes


def task_question(manifest: Manifest, options: BaseModel) -> str:
    """Return a question if classes look like lists of names or like quantities; empty if not, or if it is answered.

    Args:
        manifest: The clips.
        options: The config's `dataset:` section. Its `task` answers the question; kinds without one ask nothing.
    """
    if "task" not in type(options).model_fields or getattr(options, "task") or manifest.task != "single-label":  # noqa: B009
        return ""
    names = list(manifest.label_counts)
    if (example := _list_of_names(names)) is not None:
        return (
            f"{manifest.name}: can a clip have several classes? Labels such as {example!r} are read as one class each; "
            "set dataset.task: multi-label to split them at ; and , or task: single-label if they are names"
        )
    if (what := _numbers(names)) is not None:
        return (
            f"{manifest.name}: are the labels quantities? {what} are read as {len(names)} classes; set dataset.task: "
            "regression if they are quantities, or task: single-label if they are names"
        )
    return ""


def _list_of_names(names: list[str]) -> str | None:
    """Return a label that lists several names, of which one also occurs in another label; None if there is none."""
    parts = {name: {part.strip() for part in SEPARATORS.split(name)} - {""} for name in names}
    for name, own in parts.items():
        if len(own) > 1 and any(own & other for label, other in parts.items() if label != name):
            return name
    return None


def _numbers(names: list[str]) -> str | None:
    """Describe labels that are all numbers, if they have decimals or are many; None otherwise."""
    try:
        values = [float(name) for name in names]
    except ValueError:
        return None
    if not all(map(math.isfinite, values)):
        return None
    decimal = next((name for name in names if not name.strip().lstrip("+-").isdigit()), None)
    if decimal is not None:
        return f"Numbers such as {decimal!r}"
    return f"Whole numbers from {min(values):g} to {max(values):g}" if len(names) > MANY_NUMBERS else None
