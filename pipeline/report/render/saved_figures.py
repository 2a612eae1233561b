"""Figures for papers: every chart of the report drawn with Matplotlib, as PNG and as SVG with selectable text."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.errors import RunError
from features.system.atomic_write import atomic_write
from pipeline.report.figure import Figure, Heatmap, Series, Slot, in_right_half, is_band, names_along, positions, slots
from pipeline.report.render.ticks import compact, log_range, log_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

VERSION = 3  # increased when drawings change
KINDS = ("png", "svg")
HEAD_BYTES = 4096  # the start of an SVG, which contains its metadata
WIDTH_INCHES = 6.3  # text width of a page
PIXELS_PER_INCH = 96.0  # unit of `Figure.height`
DPI = 200
# The colours of the page in the light theme.
COLOURS = (
    "#0072b2", "#d55e00", "#332288", "#3a9c8c", "#882255", "#1b1f24", "#117733", "#cc6677", "#5b5bf5", "#6b3d12",
)  # fmt: skip
HEAT = ("#f3f7fb", "#b5d2e8", "#6aa5cf", "#1f6aa8", "#08306b")
NEUTRAL = "#59616b"  # for series that are not a model: a front, a diagonal
MARKERS = "osD^X*pP"  # distinguish series that share a colour
DASHES = ("-", ":", "-.", (0, (7, 3)), (0, (7, 3, 1, 3)))  # of variants; "--" is for neutral lines
LEGEND_COLUMNS = 3
LONGEST_NAME = 32  # characters of a name on an axis
LETTER_INCHES, ROW_INCHES = 0.09, 0.17
MANY = 300  # charts with more points draw them smaller
CROWDED = 60  # names on a horizontal axis with more characters in total are rotated
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "audioheads",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.usetex": False,
    "text.parse_math": False,  # a class may be named `$x$`
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
    """Save every figure as `<name>.png` and `<name>.svg`. The same figures give the same bytes.

    Unchanged figures are not drawn again. PNG and SVG files of other figures are removed from the folder.

    Args:
        folder: The folder; created if missing.
        figures: Figures by file name without extension, `<section>-<figure>`.

    Returns:
        The paths of the files, in order.

    Raises:
        RunError: The folder cannot be written.
    """
    written: list[Path] = []
    try:
        if figures:
            folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            paths = {kind: folder / f"{name}.{kind}" for kind in KINDS}
            if not _is_drawn(paths, digest := digest_of(figure)):
                for kind, content in render(figure, digest).items():
                    with atomic_write(paths[kind], sync="none") as temporary:
                        temporary.write_bytes(content)
            written += paths.values()
        for path in folder.glob("*"):
            if path.suffix in (".svg", ".png") and path not in written:
                path.unlink()
    except OSError as error:
        raise RunError(f"cannot write {folder} ({error.strerror or error})") from error
    return written


def digest_of(figure: Figure) -> str:
    """Return the SHA-256 of a figure's content and of the version of the code that draws it."""
    import matplotlib

    return hashlib.sha256(f"{VERSION} {matplotlib.__version__} {figure!r}".encode("utf-8", "replace")).hexdigest()


def _is_drawn(paths: Mapping[str, Path], digest: str) -> bool:
    """Return whether both files exist and the SVG, which is written last, contains the digest."""
    if not all(path.is_file() for path in paths.values()):
        return False
    with paths["svg"].open("rb") as file:
        return digest.encode() in file.read(HEAD_BYTES)


def render(figure: Figure, digest: str = "") -> dict[str, bytes]:
    """Render one figure as `png` and `svg`; the SVG contains `digest` in its metadata."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the SVG still contains the text
        drawing = draw(figure)
        found = {}
        for kind in KINDS:
            buffer = io.BytesIO()
            own = {"Software": None} if kind == "png" else {"Date": None, "Creator": None, "Identifier": digest}
            drawing.savefig(buffer, format=kind, dpi=DPI, metadata=own)
            found[kind] = buffer.getvalue()
    return found


def draw(figure: Figure) -> Drawing:
    """Draw one figure with Matplotlib, without changing its global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    height = figure.height / PIXELS_PER_INCH
    if figure.heatmap is not None:
        upright = min(LONGEST_NAME, max(map(len, figure.heatmap.columns), default=0))
        height = max(height, upright * LETTER_INCHES + len(figure.heatmap.rows) * ROW_INCHES + 1)
    drawing = Drawing(figsize=(WIDTH_INCHES, height), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    if figure.heatmap is not None:
        _heatmap(drawing, axes, figure.heatmap)
        axes.set_xlabel(_text(figure.x.title))
        axes.set_ylabel(_text(figure.y.title))
        return drawing
    for which in ("x", "y"):
        _axis(axes, which, figure)
    for series, slot in zip(figure.series, slots(figure), strict=True):
        _series(axes, series, slot, figure)
    for series in figure.series:
        _labels(axes, series, figure)
    if figure.equal:
        axes.set_aspect("equal")
    if figure.legend and sum(bool(series.name) for series in figure.series) > 1:
        # Outside the axes, so that it covers no points.
        drawing.legend(loc="outside upper left", ncols=LEGEND_COLUMNS)
    return drawing


def _axis(axes: Axes, which: Literal["x", "y"], figure: Figure) -> None:
    """Set title, scale, tick labels and range of one axis."""
    from matplotlib.ticker import MaxNLocator

    horizontal, axis = which == "x", figure.x if which == "x" else figure.y
    (axes.set_xlabel if horizontal else axes.set_ylabel)(_text(axis.title))
    names = [_short(name) for name in names_along(figure, which)]
    if names and horizontal:
        axes.set_xticks(range(len(names)), names, rotation=90 if sum(map(len, names)) > CROWDED else 0)
    elif names:
        axes.set_yticks(range(len(names)), names)
    elif axis.log:
        values = [float(value) for series in figure.series for value in (series.x if horizontal else series.y)]
        _log(axes, horizontal, axis.range or log_range(values))
        return
    elif axis.whole:
        (axes.xaxis if horizontal else axes.yaxis).set_major_locator(MaxNLocator("auto", integer=True))
    if not axis.ticks:
        (axes.set_xticks if horizontal else axes.set_yticks)([])
    if axis.range is not None:
        (axes.set_xlim if horizontal else axes.set_ylim)(*axis.range)


def _log(axes: Axes, horizontal: bool, shown: tuple[float, float]) -> None:
    """Make an axis logarithmic with plain numbers as ticks, since SVG text has no superscripts."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    (axes.set_xscale if horizontal else axes.set_yscale)("log")
    (axes.set_xlim if horizontal else axes.set_ylim)(*shown)
    axis = axes.xaxis if horizontal else axes.yaxis
    axis.set_major_locator(FixedLocator(log_ticks(*shown)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))


def _series(axes: Axes, series: Series, slot: Slot | None, figure: Figure) -> None:
    """Draw one series; None draws it in the neutral colour."""
    at, variant = (slot.number, slot.variant) if slot else (0, 0)
    colour = COLOURS[at % len(COLOURS)] if slot else NEUTRAL
    marker = MARKERS[(at + at // len(COLOURS)) % len(MARKERS)] if slot or series.mark != "line" else ""
    x, y = positions(series.x, figure, "x"), positions(series.y, figure, "y")
    style: dict[str, Any] = {"color": colour, "label": _text(series.name) or "_nolegend_"}
    if series.mark == "bars":
        axes.bar(x, y, width=_bar_width(x), **style)
        return
    if series.mark == "line":
        style |= {"linestyle": "--" if series.dashed else DASHES[variant % len(DASHES)], "linewidth": 1.4}
        if is_band(series):
            axes.fill_between(x, series.y_low, series.y_high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(x, y, **style)
            return
    else:
        style["linestyle"] = "none"
    style |= {"marker": marker, "markersize": 4.5 if sum(len(one.x) for one in figure.series) <= MANY else 2.5}
    if variant % 2:
        style["markerfacecolor"] = "none"
    if len(series.y_low):
        axes.errorbar(x, y, _spread(series, y), elinewidth=1, **style)
    else:
        axes.plot(x, y, **style)


def _labels(axes: Axes, series: Series, figure: Figure) -> None:
    """Draw labels next to points, off intervals and fronts, towards the middle of the chart."""
    if not series.labels:
        return
    x, y = positions(series.x, figure, "x"), positions(series.y, figure, "y")
    for one, other, text, left in zip(x, y, series.labels, in_right_half(series, figure), strict=True):
        if text:
            axes.annotate(
                _text(text),
                (one, other),
                xytext=(-6, 4) if left else (6, -4),
                va="bottom" if left else "top",
                textcoords="offset points",
                ha="right" if left else "left",
                fontsize=8,
            )


def _short(name: str) -> str:
    """Shorten a name to `LONGEST_NAME` characters."""
    name = _text(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _text(text: str) -> str:
    """Return text on one line, with characters that XML does not allow replaced."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))


def _spread(series: Series, y: Sequence[float]) -> list[list[float]]:
    """Return the distances from the values to the lower and upper ends of their intervals."""
    low = [max(0.0, value - end) for value, end in zip(y, series.y_low, strict=True)]
    return [low, [max(0.0, end - value) for value, end in zip(y, series.y_high, strict=True)]]


def _bar_width(x: Sequence[float]) -> float:
    steps = [second - first for first, second in zip(sorted(x), sorted(x)[1:], strict=False) if second > first]
    return 0.9 * min(steps) if steps else 0.9


def _heatmap(drawing: Drawing, axes: Axes, heatmap: Heatmap) -> None:
    """Draw a matrix with the texts of its cells."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    values = np.array([[np.nan if value is None else value for value in row] for row in heatmap.values], dtype=float)
    axes.grid(visible=False)
    image = axes.imshow(values, cmap=LinearSegmentedColormap.from_list("heat", HEAT), vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(heatmap.columns)), [_short(name) for name in heatmap.columns], rotation=90)
    axes.set_yticks(range(len(heatmap.rows)), [_short(name) for name in heatmap.rows])
    drawing.colorbar(image, ax=axes)
    for row, texts in enumerate(heatmap.texts):
        for column, text in enumerate(texts):
            if text and np.isfinite(values[row, column]):
                colour = "white" if values[row, column] > 0.6 else "black"
                axes.text(column, row, _text(text), color=colour, ha="center", va="center", fontsize=7)
