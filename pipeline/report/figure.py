"""A figure as data, drawn twice from the same numbers: by Plotly in the page, by Matplotlib for papers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Mark = Literal["points", "line", "bars"]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        title: What it shows, with the unit: `extraction time (s)`.
        log: Whether it is logarithmic.
        categories: In order, where values are names.
        range: Shown from, to; None: what the values need.
    """

    title: str
    log: bool = False
    categories: Sequence[str] = ()
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Series:
    """Values of one name and colour.

    Attributes:
        name: In the legend; "" leaves it out of it.
        x: Numbers, or names of the axis' categories.
        y: As x.
        mark: How they are drawn.
        y_low: Lower ends of the intervals of y, where there are any.
        y_high: Upper ends.
        labels: Written beside points.
        notes: Shown when a point is pointed at.
        clips: Of each point, the position in the page's clips that plays on click.
        dashed: Of lines.
    """

    name: str
    x: Sequence[float | str]
    y: Sequence[float | str]
    mark: Mark = "points"
    y_low: Sequence[float] = ()
    y_high: Sequence[float] = ()
    labels: Sequence[str] = ()
    notes: Sequence[str] = ()
    clips: Sequence[int] = ()
    dashed: bool = False


@dataclass(frozen=True)
class Heatmap:
    """A matrix of numbers in 0…1 with names on both sides; None is an empty cell.

    Attributes:
        values: Top row first.
        rows: Names of the rows.
        columns: Names of the columns.
        texts: Written in the cells.
    """

    values: Sequence[Sequence[float | None]]
    rows: Sequence[str]
    columns: Sequence[str]
    texts: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        alt: What it shows, in one or two sentences, for people who do not see it.
        x: The horizontal axis.
        y: The vertical axis.
        series: What is drawn, back to front; empty where there is a heat map.
        heatmap: Drawn instead of series.
        height: Of the drawing in the page, in CSS pixels.
        interval: What y_low and y_high are.
    """

    alt: str
    x: Axis
    y: Axis
    series: Sequence[Series] = field(default_factory=tuple)
    heatmap: Heatmap | None = None
    height: int = 420
    interval: str = "95 % interval"
