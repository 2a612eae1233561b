"""Figures for papers: the same numbers give the same bytes, text stays text, and old files are removed."""

import re
import xml.etree.ElementTree as ElementTree
from importlib import resources

import matplotlib
import pytest

from pipeline.report.figure import Axis, Figure, Heatmap, Series
from pipeline.report.render import saved_figures
from pipeline.report.render.saved_figures import render, save_figures

pytestmark = pytest.mark.thorough

HOSTILE = "<script>&\"' $x^2$ \\alpha 犬\x07\nend"
SHOWN = "<script>&\"' $x^2$ \\alpha 犬\ufffd end"


def scatter(name="yamnet", **axis):
    series = [
        Series("front", [1.0, 10.0], [0.5, 0.9], mark="line", dashed=True),
        Series(name, [1.0, 10.0], [0.5, 0.9], y_low=[0.4, 0.8], y_high=[0.6, 1.0], labels=[name, ""]),
    ]
    return Figure("accuracy over time", Axis("time (s)", log=True, **axis), Axis("accuracy"), series)


def figures():
    """One of each kind."""
    epochs = list(range(1, 21))
    line = Series("net", epochs, [1 / n for n in epochs], "line", [0.0] * 20, [1.0] * 20)
    grid = Heatmap([[0.0, 0.5], [None, 1.0]], ["dog", "cat"], ["a", "b"], [["0", "0.5"], ["", "1"]])
    return {
        "scatter": scatter(),
        "line": Figure("loss", Axis("epoch", whole=True), Axis("loss"), [line]),
        "bars": Figure("lengths", Axis("s"), Axis("clips"), [Series("clips", [0.5, 1.5], [3, 4], "bars")], height=280),
        "heat": Figure("classes", Axis("model"), Axis("class"), heatmap=grid),
        "loose": Figure("names", Axis(""), Axis("n"), [Series("n", ["a", "b"], [1, 2], labels=["one", "two"])]),
        "names": Figure("names", Axis("", categories=["b", "a"]), Axis("n"), [Series("n", ["a", "b"], [1, 2])]),
    }


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", figures())
def test_the_same_figure_gives_the_same_bytes(name):
    first, second = render(figures()[name]), render(figures()[name])
    assert first == second
    assert first["png"].startswith(b"\x89PNG") and b"Date" not in first["svg"]


def test_svg_text_is_text_with_axes_and_legend():
    found = texts(render(scatter())["svg"])
    assert {"time (s)", "accuracy", "front", "yamnet", "1", "10"} <= set(found)


def test_hostile_names_stay_text_in_svg_that_parses():
    found = texts(render(scatter(HOSTILE))["svg"])
    assert found.count(SHOWN) == 2  # next to its point and in the legend
    grid = Heatmap([[0.2]], [HOSTILE], [HOSTILE + "z" * 100], [[HOSTILE]])
    render(Figure("", Axis(HOSTILE), Axis(HOSTILE), heatmap=grid))


def test_a_low_heat_map_has_room_for_long_names():
    grid = Heatmap([[0.5] * 12], ["a class of some length"], ["a model · with-a-long-head-name" for _ in range(12)])
    render(Figure("", Axis("model"), Axis("class"), heatmap=grid, height=120))  # a warning would fail this test


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    render(scatter())
    assert dict(matplotlib.rcParams) == before


def test_files_that_are_unchanged_stay_and_others_go(tmp_path):
    drawn = figures()
    first = save_figures(tmp_path, drawn)
    assert sorted(path.name for path in first) == sorted(f"{name}.{kind}" for name in drawn for kind in ("png", "svg"))
    for path in first:
        path.write_bytes(path.read_bytes() + b" ")  # shows whether it is drawn again
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "bars.png").unlink()
    kept = {name: drawn[name] for name in ("bars", "scatter")} | {"line": scatter("other")}
    save_figures(tmp_path, kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bars.png", "bars.svg", "line.png", "line.svg", "notes.txt", "scatter.png", "scatter.svg",
    ]  # fmt: skip
    marked = {path.name for path in tmp_path.iterdir() if path.read_bytes().endswith(b" ")}
    assert marked == {"scatter.png", "scatter.svg"}


def test_a_new_version_draws_all_figures_again(tmp_path, monkeypatch):
    first = save_figures(tmp_path, {"scatter": scatter()})
    first[0].write_bytes(b"old")
    monkeypatch.setattr(saved_figures, "VERSION", saved_figures.VERSION + 1)
    assert save_figures(tmp_path, {"scatter": scatter()})[0].read_bytes() != b"old"


def test_labels_point_towards_the_middle():
    svg = render(
        Figure("", Axis("x", log=True), Axis("y"), [Series("s", [1.0, 100.0], [0.2, 0.8], labels=["left", "right"])])
    )["svg"]
    anchors = {
        element.text: element.get("style", "")
        for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    }
    assert "text-anchor: end" in anchors["right"] and "text-anchor: end" not in anchors["left"]


def test_colours_are_those_of_the_page():
    css = (resources.files("pipeline.report") / "assets" / "style.css").read_text()
    light = css.partition("@media")[0]
    for name, colours in (("series", saved_figures.COLOURS), ("heat", saved_figures.HEAT)):
        assert tuple(re.findall(rf"--{name}-\d+: (#[0-9a-f]{{6}})", light)) == colours
    assert f"--muted: {saved_figures.NEUTRAL}" in light
