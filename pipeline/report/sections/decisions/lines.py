"""Lines of charts about decisions: a score with its interval at some points."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.figure import Series
from pipeline.report.study import StudyModel


def line_of(
    model: StudyModel, name: str, x: Sequence[float], estimates: Sequence[Sequence[float]], notes: Sequence[str]
) -> Series:
    """Return a line in the colour of a model.

    Args:
        model: The model.
        name: Name of the line.
        x: Position of each point.
        estimates: Score of each point and the ends of its interval.
        notes: Text of each point.
    """
    y, low, high = ([one[at] for one in estimates] for at in range(3))
    return Series(name, x, y, y_low=low, y_high=high, mark="line", of=str(model.row["model"]), notes=notes)
