"""Names of series inside a chart: at the ends of lines, in the middle of points. They replace the legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.report.figure import Axis, Figure, Series

LINE_HEIGHT_PX = 17
LETTER_PX = 7.2
AXES_PX = 76  # height of a chart outside its axes: the labels of the horizontal axis and the margin at the top
WIDTH_PX = 1150  # of the axes of a wide chart
MARGIN = 0.05  # of the vertical range, on each side
LONGEST_PX = 260


def names_in_chart(figure: Figure, colours: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """Return the parts of Plotly's layout that show the names of the series in a chart.

    Args:
        figure: The chart, on numeric axes.
        colours: The colour of each series.
        texts: The escaped name of each series; "" for a series without a name.
    """
    named = [at for at, text in enumerate(texts) if text and len(figure.series[at].x) and not figure.series[at].dashed]
    lines = [at for at in named if figure.series[at].mark == "line"]
    if not lines:
        return {"annotations": [_centre(figure.series[at], texts[at]) for at in _apart(figure, named, texts)]}
    low, high = figure.y.range or _range(figure.series)
    unit = (high - low) / (figure.height - AXES_PX)  # of the axis per pixel
    heights = spread([float(figure.series[at].y[-1]) for at in lines], LINE_HEIGHT_PX * unit)
    longest = max(LETTER_PX * len(figure.series[at].name) for at in lines)
    return {
        "margin": {"r": round(min(LONGEST_PX, longest) + 20)},
        "yaxis": {"range": [low, high]},
        "annotations": [
            {
                "x": _position(figure.series[at].x[-1], figure.x),
                "y": height,
                "text": texts[at],
                "font": {"color": colours[at]},
                "xanchor": "left",
                "xshift": 10,
                "showarrow": False,
            }
            for at, height in zip(lines, heights, strict=True)
        ],
    }


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Return the values moved apart so that neighbours differ by at least `gap`, with as little movement as possible.

    Values that are too close form a block that is centred on their mean, as in isotonic regression.
    """
    order = np.argsort(values, kind="stable")
    blocks: list[list[float]] = []  # sum of the values minus their place in the block times the gap, and their number
    for at in order:
        blocks.append([float(values[at]), 1])
        while len(blocks) > 1 and _start(blocks[-2], gap) + blocks[-2][1] * gap > _start(blocks[-1], gap):
            total, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count]
    placed = [_start(block, gap) + number * gap for block in blocks for number in range(int(block[1]))]
    found = [0.0] * len(placed)
    for at, place in zip(order, placed, strict=True):
        found[at] = place
    return found


def _start(block: Sequence[float], gap: float) -> float:
    total, count = block
    return total / count - gap * (count - 1) / 2


def _range(series: Sequence[Series]) -> tuple[float, float]:
    ends = [float(end) for one in series for side in (one.y, one.y_low, one.y_high) for end in side]
    ends = [end for end in ends if math.isfinite(end)]
    low, high = min(ends), max(ends)
    space = MARGIN * (high - low or 1)
    return low - space, high + space


def _position(value: float | str, axis: Axis) -> float:
    return math.log10(float(value)) if axis.log else float(value)


def _middle(series: Series) -> tuple[float, float]:
    """Return the point that is nearest to the median of a series, so that the name is on its points."""
    points = np.array([series.x, series.y], dtype=np.float64)
    distances = np.square(points - np.median(points, axis=1, keepdims=True)).sum(axis=0)
    x, y = points[:, distances.argmin()]
    return float(x), float(y)


def _centre(series: Series, text: str) -> dict[str, Any]:
    x, y = _middle(series)
    return {"x": x, "y": y, "text": text, "showarrow": False, "bgcolor": "--page", "opacity": 0.85, "borderpad": 1}


def _apart(figure: Figure, named: Sequence[int], texts: Sequence[str]) -> list[int]:
    """Return the series whose names do not overlap those of earlier ones; series with more points come first."""
    if not named:
        return []
    (left, right), (low, high) = figure.x.range or (0, 1), figure.y.range or (0, 1)
    across, up = WIDTH_PX / (right - left), (figure.height - AXES_PX) / (high - low)
    kept: list[tuple[int, float, float]] = []
    for at in sorted(named, key=lambda own: -len(figure.series[own].x)):
        x, y = _middle(figure.series[at])
        near = any(
            abs(x - other_x) * across < LETTER_PX * (len(texts[at]) + len(texts[other])) / 2
            and abs(y - other_y) * up < LINE_HEIGHT_PX
            for other, other_x, other_y in kept
        )
        if not near:
            kept.append((at, x, y))
    return [at for at, _, _ in kept]
