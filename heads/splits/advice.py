"""What to write in a config if classes are too small for a protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence

SHOWN = 5  # labels in a message


def listed(labels: Sequence[str]) -> str:
    """Return how many more labels have the same problem as the first, in brackets; empty if there is no other."""
    return f" (and {len(labels) - 1} more label{'s' if len(labels) > 2 else ''})" if len(labels) > 1 else ""


def class_sizes_advice(labels: Sequence[str], min_clips: int | None = None) -> str:
    """Return which options leave out or accept some labels.

    Args:
        labels: The labels.
        min_clips: Fewest clips of a label that does not have the problem; None: it does not depend on their number.
    """
    names = ", ".join(json.dumps(label, ensure_ascii=False) for label in labels[:SHOWN])
    more = ", …" if len(labels) > SHOWN else ""
    ways = [f"dataset.exclude: [{names}{more}]"]
    if min_clips is not None:
        ways.insert(0, f"dataset.min_clips: {min_clips}")
    them = "it" if len(labels) == 1 else "them"
    return (
        f"leave {them} out with {' or '.join(ways)}, merge {them} into another label with dataset.rename, or set "
        "absent_classes: score to count clips without a class to learn from as errors"
    )
