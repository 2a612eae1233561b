"""A figure as data, drawn twice from the same numbers: by Plotly in the page, by Matplotlib for papers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

BAND_FROM = 12  # points of a line from which its intervals are drawn as a band: bars would hide each other
Mark = Literal["points", "line", "bars"]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        title: What it shows, with the unit: `extraction time (s)`.
        log: Whether it is logarithmic.
        categories: In order, where values are names.
        range: Shown from, to; None: what the values need.
        whole: Whether values are whole numbers, so that ticks between them say nothing.
        ticks: Whether values stand along it; not where they mean nothing.
    """

    title: str
    log: bool = False
    categories: Sequence[str] = ()
    range: tuple[float, float] | None = None
    whole: bool = False
    ticks: bool = True


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
        notes: Shown when a point is pointed at; of points with `clips`, the clip's id and label where empty.
        clips: Of each point, the position in the page's clips that plays on click.
        dashed: Of lines.
        of: The backbone or network it is about, which has the same colour and symbol in every chart of a page.
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
    of: str = ""

    @property
    def is_neutral(self) -> bool:
        """Whether it stands for nothing that has a colour: a front, a diagonal."""
        return not self.name or self.dashed


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
        legend: Whether the names of series are listed beside it, where there are several.
        equal: Whether a unit is as long on both axes.
        order: What series can be `of`, in the order of colours; all charts of a page have the same.
    """

    alt: str
    x: Axis
    y: Axis
    series: Sequence[Series] = field(default_factory=tuple)
    heatmap: Heatmap | None = None
    height: int = 420
    interval: str = "95 % interval"
    legend: bool = True
    equal: bool = False
    order: Sequence[str] = ()


def is_band(series: Series) -> bool:
    """Whether a series' intervals are drawn as one area."""
    return series.mark == "line" and len(series.y_low) > 0 and len(series.x) >= BAND_FROM


def slots(figure: Figure) -> list[int | None]:
    """Which colour and symbol each series takes, 0 for the first; None for neutral ones.

    Series of one name share a slot. The first name of a backbone or network takes its own; further ones, and names
    that are of none, take what is left over.
    """
    own = {name: at for at, name in enumerate(figure.order)}
    reserved = {own[one.of] for one in figure.series if one.of in own}
    taken: dict[str, int] = {}
    for one in figure.series:
        if one.is_neutral or one.name in taken:
            continue
        at = own.get(one.of)
        if at is None or at in taken.values():
            at = next(free for free in itertools.count() if free not in reserved and free not in taken.values())
        taken[one.name] = at
    return [None if one.is_neutral else taken[one.name] for one in figure.series]


def in_right_half(series: Series, figure: Figure) -> list[bool]:
    """Of each point, whether it lies right of the middle of all that is drawn: its label then goes to the left."""
    own, every = (positions(values, figure, "x") for values in (series.x, [x for one in figure.series for x in one.x]))
    scale = math.log if figure.x.log else float
    low, high = scale(min(every)), scale(max(every))
    return [scale(value) > (low + high) / 2 for value in own]


def names_along(figure: Figure, which: Literal["x", "y"]) -> list[str]:
    """The names along an axis, in order: its categories, or what series give in place of numbers; none of numbers."""
    axis = figure.x if which == "x" else figure.y
    values = [value for one in figure.series for value in (one.x if which == "x" else one.y)]
    return list(axis.categories) or list(dict.fromkeys(value for value in values if isinstance(value, str)))


def positions(values: Sequence[float | str], figure: Figure, which: Literal["x", "y"]) -> list[float]:
    """Values as numbers: names by their place along the axis."""
    names = {name: float(at) for at, name in enumerate(names_along(figure, which))}
    return [names[value] if isinstance(value, str) else float(value) for value in values]
