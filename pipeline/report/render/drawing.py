"""Converts a `Figure` to Plotly's JSON. Colours are names of CSS variables, so that charts follow the theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.report.figure import Axis, Figure, Heatmap, Series, Slot, in_right_half, is_band, slots
from pipeline.report.render.series_names import names_in_chart
from pipeline.report.render.ticks import compact, log_range, log_ticks

COLOURS = 10  # --series-1 … --series-10 in style.css; further series repeat the colours with other symbols
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "pentagon", "cross")
DASHES = ("solid", "dot", "dashdot", "longdash", "longdashdot")  # of variants; "dash" is for neutral lines
WHOLE_TICKS = 12
MOST_MARKERS = 40  # points of a line that have a marker each
MANY = 1000  # charts with more points draw them smaller
HEAT = [[at / 4, f"--heat-{at + 1}"] for at in range(5)]


def plotly_json(figure: Figure) -> dict[str, Any]:
    """Return a chart as `{"data": […], "layout": {…}}`.

    Strings under keys that end in `color`, and in `colorscale`, are names of CSS variables (`--series-1`). The
    page's script replaces them with the colours of the theme. Texts are escaped, since Plotly interprets some HTML.
    """
    layout: dict[str, Any] = {
        "height": figure.height,
        "xaxis": _axis(figure.x, [value for one in figure.series for value in one.x]),
        "yaxis": _axis(figure.y, [value for one in figure.series for value in one.y]),
        "showlegend": figure.legend and sum(bool(one.name) for one in figure.series) > 1,
    }
    if figure.equal:
        layout["yaxis"] |= {"scaleanchor": "x", "constrain": "domain"}
        layout["xaxis"]["constrain"] = "domain"
    if figure.heatmap is not None:
        layout["yaxis"]["autorange"] = "reversed"
        return {"data": [_heatmap(figure.heatmap, figure)], "layout": layout}
    if any(len(one.y_low) for one in figure.series):
        layout["meta"] = {"interval": plain(figure.interval)}
    traces = [_trace(one, slot, figure) for one, slot in zip(figure.series, slots(figure), strict=True)]
    if figure.named:
        names = names_in_chart(
            figure, [trace["marker"]["color"] for trace in traces], [trace["name"] for trace in traces]
        )
        layout |= names | {"yaxis": layout["yaxis"] | names.get("yaxis", {})}
        layout["meta"] = layout.get("meta", {}) | {"named": True}
    bands = [_band(one, trace) for one, trace in zip(figure.series, traces, strict=True) if is_band(one)]
    return {"data": [*bands, *traces], "layout": layout}


def plain(text: str) -> str:
    """Escape text so that Plotly shows it verbatim, on one line."""
    single = " ".join(str(text).splitlines())
    return single.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _lines(text: str) -> str:
    """Escape text like `plain`, but keep line breaks."""
    return "<br>".join(map(plain, str(text).split("\n")))


def _axis(axis: Axis, values: Sequence[float | str]) -> dict[str, Any]:
    found: dict[str, Any] = {"title": {"text": plain(axis.title)}}
    if axis.categories or any(isinstance(value, str) for value in values):
        found["type"] = "category"
        if axis.categories:
            found |= {"categoryorder": "array", "categoryarray": [plain(name) for name in axis.categories]}
    elif axis.log:
        low, high = axis.range or log_range(map(float, values))
        ticks = log_ticks(low, high)
        found |= {"type": "log", "range": [math.log10(low), math.log10(high)]}
        return found | {"tickvals": ticks, "ticktext": [compact(tick) for tick in ticks]}
    if axis.whole and values:
        spread = max(map(float, values)) - min(map(float, values))
        found |= {"tick0": 0, "dtick": max(1, round(spread / WHOLE_TICKS))}
    if not axis.ticks:
        found |= {"showticklabels": False, "showgrid": False, "zeroline": False}
    if axis.range is not None:
        found["range"] = list(axis.range)
    return found


def _heatmap(heatmap: Heatmap, figure: Figure) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": [[_number(value) for value in row] for row in heatmap.values],
        "x": [plain(name) for name in heatmap.columns],
        "y": [plain(name) for name in heatmap.rows],
        "zmin": 0,
        "zmax": 1,
        "colorscale": HEAT,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": f"{plain(figure.y.title)}: %{{y}}<br>{plain(figure.x.title)}: %{{x}}<br>%{{z}}<extra></extra>",
    }
    if heatmap.texts:
        trace |= {"text": [[plain(text) for text in row] for row in heatmap.texts], "texttemplate": "%{text}"}
        trace["hovertemplate"] = trace["hovertemplate"].replace("%{z}", "%{text}")
    return trace


def colour_of(number: int) -> str:
    """Return the CSS variable with the colour of a slot."""
    return f"--series-{number % COLOURS + 1}"


def _symbol(slot: Slot) -> str:
    """Return the symbol of a slot; variants are open and filled in turn."""
    name = SYMBOLS[(slot.number + slot.number // COLOURS) % len(SYMBOLS)]
    return f"{name}-open" if slot.variant % 2 else name


def _trace(series: Series, slot: Slot | None, figure: Figure) -> dict[str, Any]:
    colour = "--muted" if slot is None else colour_of(slot.number)
    symbol = "circle" if slot is None else _symbol(slot)
    dash = "dash" if series.dashed else DASHES[slot.variant % len(DASHES)] if slot else "solid"
    trace: dict[str, Any] = {
        "type": "bar" if series.mark == "bars" else "scatter",
        "name": plain(series.name),
        "showlegend": bool(series.name),
        "x": [_value(value) for value in series.x],
        "y": [_value(value) for value in series.y],
        "marker": {"color": colour}
        if series.mark == "bars"
        else {"color": colour, "symbol": symbol, "size": _size(figure)},
    }
    if series.mark != "bars":
        is_marked = slot is not None and len(series.x) <= MOST_MARKERS
        mode = "markers" if series.mark == "points" else "lines+markers" if is_marked else "lines"
        trace["mode"] = mode + ("+text" if series.labels else "")
        trace["line"] = {"color": colour, "width": 2, "dash": dash}
    if series.labels:
        # Next to the point, off its interval and the front, towards the middle of the chart.
        sides = ["top left" if right else "bottom right" for right in in_right_half(series, figure)]
        trace |= {"text": [plain(text) for text in series.labels], "textposition": sides}
    if series.notes:
        trace |= {"hovertext": [_lines(text) for text in series.notes], "hoverinfo": "text"}
    if series.clips:
        trace["customdata"] = [int(clip) for clip in series.clips]
    if len(series.y_low):
        y = [float(value) for value in series.y]
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [_number(high - value) for high, value in zip(series.y_high, y, strict=True)],
            "arrayminus": [_number(value - low) for low, value in zip(series.y_low, y, strict=True)],
            "color": colour,
            "thickness": 1.5,
            "width": 4,
            "visible": not is_band(series),
        }
    return trace


def _size(figure: Figure) -> int:
    """Return the size of points in CSS pixels."""
    return 8 if sum(len(one.x) for one in figure.series) <= MANY else 6


def _band(series: Series, trace: dict[str, Any]) -> dict[str, Any]:
    """Return the intervals of a long line as an area drawn behind it."""
    x, low, high = trace["x"], *([_number(value) for value in side] for side in (series.y_low, series.y_high))
    return {
        "type": "scatter",
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": trace["line"]["color"],
        "opacity": 0.18,
        "mode": "none",
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _value(value: float | str) -> float | str | None:
    return plain(value) if isinstance(value, str) else _number(value)


def _number(value: float | None) -> float | None:
    """Round to six significant digits, which keeps the page small; None for missing and non-finite values."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
