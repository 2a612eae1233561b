"""Figures for papers: every chart of the report by Matplotlib, as SVG whose text stays text and as PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import RunError
from pipeline.report.figure import Axis, Figure, Heatmap, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

WIDTH_INCHES = 6.3  # a page's text width
PIXELS_PER_INCH = 96.0  # of `Figure.height`
DPI = 200
# After Okabe and Ito (2008), darkened where white paper asks for it: those of the page in light.
COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#a8467e", "#946300", "#3b87bd", "#4a4a4a", "#7d7a00")
NEUTRAL = "#59616b"  # of what stands for no model: a front, a diagonal
MARKERS = "osD^X*pP"  # beyond the colours, series differ by these
LEGEND_COLUMNS = 3
CROWDED = 60  # letters of a horizontal axis' names, from which they stand upright
BAND_FROM = 12  # points of a line from which its intervals are a band: bars would hide each other
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "audioheads",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.usetex": False,
    "text.parse_math": False,  # a class named `$x$` keeps its name
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "errorbar.capsize": 2,
}


def save_figures(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Draw every figure as `<name>.svg` and `<name>.png`; the same figures give the same bytes.

    Files of figures that are no longer there go.

    Args:
        folder: Made where it is missing.
        figures: By file name without extension: `<section>-<figure>`.

    Returns:
        The files, in order.

    Raises:
        RunError: The folder cannot be written.
    """
    written = []
    try:
        if figures:
            folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            for kind, content in render(figure).items():
                path = folder / f"{name}.{kind}"
                path.write_bytes(content)
                written.append(path)
        for path in folder.glob("*"):
            if path.suffix in (".svg", ".png") and path not in written:
                path.unlink()
    except OSError as error:
        raise RunError(f"cannot write {folder} ({error.strerror or error})") from error
    return written


def render(figure: Figure) -> dict[str, bytes]:
    """One figure as `svg` and `png`."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the SVG has the text all the same
        drawing = draw(figure)
        found = {}
        for kind, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            drawing.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
            found[kind] = buffer.getvalue()
    return found


def draw(figure: Figure) -> Drawing:
    """One figure as Matplotlib holds it; nothing global is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(WIDTH_INCHES, figure.height / PIXELS_PER_INCH), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    if figure.heatmap is not None:
        _heatmap(drawing, axes, figure.heatmap)
        axes.set_xlabel(_text(figure.x.title))
        axes.set_ylabel(_text(figure.y.title))
        return drawing
    _axis(axes, "x", figure.x)
    _axis(axes, "y", figure.y)
    names = list(dict.fromkeys(series.name for series in figure.series if series.name and not series.dashed))
    for series in figure.series:
        neutral = series.dashed or not series.name
        _series(axes, series, None if neutral else names.index(series.name), figure)
    for series in figure.series:
        _labels(axes, series, figure)  # once all is drawn: their side depends on the range
    if sum(bool(series.name) for series in figure.series) > 1:
        # Outside the axes, where it covers nothing.
        drawing.legend(loc="outside upper left", ncols=LEGEND_COLUMNS)
    return drawing


def _axis(axes: Axes, which: str, axis: Axis) -> None:
    """Title, scale, names and range of one axis."""
    horizontal = which == "x"
    (axes.set_xlabel if horizontal else axes.set_ylabel)(_text(axis.title))
    if axis.log:
        (axes.set_xscale if horizontal else axes.set_yscale)("log")
        _plain_ticks(axes.xaxis if horizontal else axes.yaxis)
    if axis.categories:
        places, names = range(len(axis.categories)), [_text(name) for name in axis.categories]
        if horizontal:
            axes.set_xticks(places, names, rotation=90 if sum(map(len, names)) > CROWDED else 0)
        else:
            axes.set_yticks(places, names)
    if axis.range is not None:
        (axes.set_xlim if horizontal else axes.set_ylim)(*axis.range)


def _plain_ticks(axis: Any) -> None:
    """Numbers such as 0.5 and 20,000 in place of powers of ten, which SVG text cannot raise."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axis.set_minor_formatter(NullFormatter())


def compact(value: float) -> str:
    """A tick's number: `0.05`, `20`, `5k`, `1M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9999:
            return f"{value / size:g}{unit}"
    return f"{value:.3g}"


def _series(axes: Axes, series: Series, at: int | None, figure: Figure) -> None:
    """Draw one series in colour and marker number `at`; None: as what stands for no model."""
    colour = NEUTRAL if at is None else COLOURS[at % len(COLOURS)]
    marker = "" if at is None and series.mark == "line" else MARKERS[((at or 0) + (at or 0) // 8) % len(MARKERS)]
    x, y = _places(series.x, figure.x), _places(series.y, figure.y)
    style: dict[str, Any] = {"color": colour, "label": _text(series.name) or "_nolegend_"}
    if series.mark == "bars":
        axes.bar(x, y, width=_bar_width(x), **style)
        return
    if series.mark == "line":
        style |= {"linestyle": "--" if series.dashed else "-", "linewidth": 1.4}
        if len(series.y_low) and len(x) >= BAND_FROM:
            axes.fill_between(x, series.y_low, series.y_high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(x, y, **style)
            return
    else:
        style["linestyle"] = "none"
    style |= {"marker": marker, "markersize": 4.5}
    if len(series.y_low):
        axes.errorbar(x, y, _spread(series, y), elinewidth=1, **style)
    else:
        axes.plot(x, y, **style)


def _labels(axes: Axes, series: Series, figure: Figure) -> None:
    """Texts beside points, towards the middle of the drawing, or they would stand outside."""
    for x, y, text in zip(_places(series.x, figure.x), _places(series.y, figure.y), series.labels, strict=False):
        if text:
            left = _is_right_half(axes, x)
            axes.annotate(
                _text(text),
                (x, y),
                xytext=(-6 if left else 6, 4),
                textcoords="offset points",
                ha="right" if left else "left",
                fontsize=8,
            )


def _text(text: str) -> str:
    """Text on one line, without what XML cannot hold."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))


def _is_right_half(axes: Axes, value: float) -> bool:
    """Whether a value lies in the right half of the axes as they are now."""
    place = axes.transData.transform((value, 0 if axes.get_yscale() == "linear" else 1))[0]
    return bool(axes.transAxes.inverted().transform((place, 0))[0] > 0.5)


def _places(values: Sequence[float | str], axis: Axis) -> list[float]:
    """Values as numbers: names by their place among the axis' categories."""
    if not axis.categories:
        return [float(value) for value in values]
    known = {name: at for at, name in enumerate(axis.categories)}
    return [float(known[str(value)]) for value in values]


def _spread(series: Series, y: Sequence[float]) -> list[list[float]]:
    """Distances of the ends of the intervals from the values."""
    low = [max(0.0, value - end) for value, end in zip(y, series.y_low, strict=True)]
    return [low, [max(0.0, end - value) for value, end in zip(y, series.y_high, strict=True)]]


def _bar_width(x: Sequence[float]) -> float:
    steps = [second - first for first, second in zip(sorted(x), sorted(x)[1:], strict=False) if second > first]
    return 0.9 * min(steps) if steps else 0.9


def _heatmap(drawing: Drawing, axes: Axes, heatmap: Heatmap) -> None:
    """A matrix with its numbers in the cells where there is room."""
    import numpy as np

    values = np.array([[np.nan if value is None else value for value in row] for row in heatmap.values], dtype=float)
    axes.grid(visible=False)
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(heatmap.columns)), [_text(name) for name in heatmap.columns], rotation=90)
    axes.set_yticks(range(len(heatmap.rows)), [_text(name) for name in heatmap.rows])
    drawing.colorbar(image, ax=axes)
    for row, texts in enumerate(heatmap.texts):
        for column, text in enumerate(texts):
            if text and np.isfinite(values[row, column]):
                colour = "white" if values[row, column] < 0.5 else "black"
                axes.text(column, row, _text(text), color=colour, ha="center", va="center", fontsize=7)
