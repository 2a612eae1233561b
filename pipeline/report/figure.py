"""Charts as data. The page draws them with Plotly; Matplotlib draws the same numbers for papers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

BAND_FROM = 12  # lines with at least this many points show intervals as a band; error bars would overlap
Mark = Literal["points", "line", "bars"]


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Attributes:
        title: Quantity with its unit, such as `extraction time (s)`.
        log: Whether the scale is logarithmic.
        categories: Names along the axis, in order, if values are names.
        range: Lower and upper limit; None fits the values.
        whole: Whether values are whole numbers. Ticks are then placed on whole numbers only.
        ticks: Whether tick labels are shown. False if the values have no meaning.
    """

    title: str
    log: bool = False
    categories: Sequence[str] = ()
    range: tuple[float, float] | None = None
    whole: bool = False
    ticks: bool = True


@dataclass(frozen=True)
class Series:
    """Values that share a name and a colour.

    Attributes:
        name: Name in the legend; "" omits the series from the legend.
        x: Numbers or category names.
        y: Numbers or category names, as many as in `x`.
        mark: How the values are drawn.
        y_low: Lower ends of the intervals of `y`; empty if there are none.
        y_high: Upper ends.
        labels: Texts drawn next to the points.
        notes: Tooltips. If empty, points with `clips` show the clip's id and label.
        clips: For each point, the position of the clip that a click plays.
        dashed: Whether a line is dashed.
        of: The backbone or network shown. It has the same colour and symbol everywhere in a page.
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
        """Whether the series represents no model (a front, a diagonal, counts) and is drawn in a neutral colour."""
        return not self.name or self.dashed or (self.mark == "bars" and not self.of)


@dataclass(frozen=True)
class Heatmap:
    """A matrix of numbers in 0…1 with row and column names.

    Attributes:
        values: Shape (rows, columns), top row first; None is an empty cell.
        rows: Names of the rows.
        columns: Names of the columns.
        texts: Texts drawn in the cells, same shape as `values`; empty for none.
    """

    values: Sequence[Sequence[float | None]]
    rows: Sequence[str]
    columns: Sequence[str]
    texts: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        alt: Text alternative in one or two sentences.
        x: The horizontal axis.
        y: The vertical axis.
        series: The series, drawn in this order; empty for a heat map.
        heatmap: Drawn instead of the series.
        height: Height in the page, in CSS pixels.
        interval: Meaning of `y_low` and `y_high`.
        legend: Whether a legend is shown if there is more than one named series.
        equal: Whether both axes have the same scale.
        order: All possible values of `Series.of`, in the order of colours. It is the same for all charts of a page.
        named: Whether a wide chart shows the names of the series in the chart instead of a legend: lines at their ends,
            points in their middle.
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
    named: bool = False


def is_band(series: Series) -> bool:
    """Return whether the intervals of a series are drawn as a band."""
    return series.mark == "line" and len(series.y_low) > 0 and len(series.x) >= BAND_FROM


@dataclass(frozen=True)
class Slot:
    """How a series looks.

    Attributes:
        number: Number of its colour and symbol.
        variant: 0 for the first series with this number in a chart, 1 for the second. Variants have the same colour
            and other dashes or open symbols, such as two heads of one backbone.
    """

    number: int
    variant: int = 0


def slots(figure: Figure) -> list[Slot | None]:
    """Return the colour, symbol and dashes of each series; None for neutral series.

    A backbone or network has the number reserved for it by `figure.order` in every chart, whatever its heads. Other
    names get free numbers. Series with the same name look the same.
    """
    own = {name: at for at, name in enumerate(figure.order)}
    reserved = {own[one.of] for one in figure.series if one.of in own}
    found: dict[str, Slot] = {}
    for one in figure.series:
        if one.is_neutral or one.name in found:
            continue
        numbers = [slot.number for slot in found.values()]
        at = own.get(one.of)
        if at is None:
            at = next(free for free in itertools.count() if free not in reserved and free not in numbers)
        found[one.name] = Slot(at, numbers.count(at))
    return [None if one.is_neutral else found[one.name] for one in figure.series]


def in_right_half(series: Series, figure: Figure) -> list[bool]:
    """Return for each point whether it is in the right half of the chart, so that its label goes to the left."""
    own, every = (positions(values, figure, "x") for values in (series.x, [x for one in figure.series for x in one.x]))
    scale = math.log if figure.x.log else float
    low, high = scale(min(every)), scale(max(every))
    return [scale(value) > (low + high) / 2 for value in own]


def names_along(figure: Figure, which: Literal["x", "y"]) -> list[str]:
    """Return the names along an axis in order: its categories or the names in the series. Empty for a numeric axis."""
    axis = figure.x if which == "x" else figure.y
    values = [value for one in figure.series for value in (one.x if which == "x" else one.y)]
    return list(axis.categories) or list(dict.fromkeys(value for value in values if isinstance(value, str)))


def positions(values: Sequence[float | str], figure: Figure, which: Literal["x", "y"]) -> list[float]:
    """Return values as numbers. A name becomes its position along the axis."""
    names = {name: float(at) for at, name in enumerate(names_along(figure, which))}
    return [names[value] if isinstance(value, str) else float(value) for value in values]
