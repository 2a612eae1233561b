"""Print predictions as a short table on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.console import Console
from pipeline.predicting.output_formats import Answers, Scored

NUMBERS = ("start s", "end s", "score", "value")


def show(rows: Sequence[Scored], answers: Answers, console: Console) -> None:
    """Print one row per clip or window: the file, the label or the decision, and its score.

    With several labels per clip, `label` lists the chosen ones, and `score` is the highest probability among all
    classes. Clips that failed have no row; the caller prints them with the reason.

    Args:
        rows: The clips in input order.
        answers: The meaning of their outputs.
        console: Prints the table on stdout.
    """
    shown = [_cells(answers.row(row)) for row in rows if not row.error]
    if shown:
        console.table(list(shown[0]), [list(row.values()) for row in shown], right=NUMBERS, foldable=["file", "label"])


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return heading -> cell of one row of `Answers.row`."""
    cells = {"file": row["id"]}
    if "start_s" in row:
        cells |= {"start s": f"{row['start_s']:.2f}", "end s": f"{row['end_s']:.2f}"}
    if "value" in row:
        return cells | {"value": f"{row['value']:.4g}"}
    decided = "decision" in row
    label = row["decision"] if decided else row["label"]
    score = row["score"] if decided else row["top"][0][1]
    name = ", ".join(label) or "none" if isinstance(label, list) else str(label)
    return cells | {"decision" if decided else "label": name, "score": f"{score:.3f}"}
