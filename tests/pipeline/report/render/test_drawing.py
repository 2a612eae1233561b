"""Figures as Plotly's JSON."""

import json
import re
from importlib import resources

import pytest

from pipeline.report.figure import Axis, Figure, Heatmap, Series
from pipeline.report.render.drawing import COLOURS, plotly_json
from pipeline.report.render.embedded import json_text
from tests.pipeline.report.hostile import NAMES

CSS = (resources.files("pipeline.report") / "assets" / "style.css").read_text()


def figure(*series, **kwargs):
    return Figure("alt", kwargs.get("x", Axis("time (s)")), kwargs.get("y", Axis("accuracy")), series)


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for own in value.values():
            yield from texts_of(own)
    elif isinstance(value, list):
        for own in value:
            yield from texts_of(own)


def test_points_with_intervals_and_clips():
    made = plotly_json(figure(Series("yamnet", [1, 2], [0.5, 0.9], y_low=[0.4, 0.8], y_high=[0.7, 0.95], clips=[3, 7])))
    (trace,) = made["data"]
    assert (trace["x"], trace["y"], trace["customdata"], trace["mode"]) == ([1, 2], [0.5, 0.9], [3, 7], "markers")
    assert trace["error_y"]["array"] == pytest.approx([0.2, 0.05])
    assert trace["error_y"]["arrayminus"] == pytest.approx([0.1, 0.1])
    assert made["layout"]["xaxis"]["title"]["text"] == "time (s)"
    assert not made["layout"]["showlegend"]


def test_every_name_has_its_colour_and_lines_that_are_not_a_model_are_grey():
    series = [Series(f"m{number}", [1], [1], mark="line") for number in range(COLOURS)]
    made = plotly_json(figure(*series, Series("front", [1], [1], mark="line", dashed=True), Series("m0", [2], [2])))
    colours = [trace["marker"]["color"] for trace in made["data"]]
    assert len(set(colours[:COLOURS])) == COLOURS
    assert colours[COLOURS] == "--muted" and colours[-1] == colours[0]
    assert set(colours) <= set(re.findall(r"--[\w-]+", CSS))


def test_repeated_colours_have_other_symbols():
    made = plotly_json(figure(*(Series(f"m{number}", [1], [1]) for number in range(2 * COLOURS))))
    looks = [(trace["marker"]["color"], trace["marker"]["symbol"]) for trace in made["data"]]
    assert len(set(looks)) == 2 * COLOURS


def test_logarithmic_ranges_are_given_as_exponents():
    made = plotly_json(figure(Series("a", [1], [1]), x=Axis("parameters", log=True, range=(10, 1000))))
    assert made["layout"]["xaxis"]["type"] == "log" and made["layout"]["xaxis"]["range"] == [1, 3]


def test_names_on_an_axis_are_never_read_as_numbers_or_dates():
    made = plotly_json(figure(Series("a", ["2020-01-01", "7"], [1, 2], mark="bars")))
    assert made["layout"]["xaxis"]["type"] == "category" and made["data"][0]["type"] == "bar"


def test_a_heat_map_reads_from_top_to_bottom():
    heat = Heatmap([[0.5, None], [0.25, float("nan")]], ["one", "two"], ["a", "b"])
    made = plotly_json(Figure("alt", Axis("predicted"), Axis("true"), heatmap=heat))
    assert made["data"][0]["z"] == [[0.5, None], [0.25, None]]
    assert made["layout"]["yaxis"]["autorange"] == "reversed"
    assert {colour for _, colour in made["data"][0]["colorscale"]} <= set(re.findall(r"--heat-\d", CSS))


def test_no_name_is_markup_to_plotly():
    names = list(NAMES)
    numbers = [float(number) for number in range(len(names))]
    heat = Heatmap([numbers] * len(names), names, names, [names] * len(names))
    pictures = [
        Figure("alt", Axis(names[0], categories=names), Axis(names[1]), heatmap=heat),
        figure(*(Series(name, names, numbers, labels=names, notes=names) for name in names)),
    ]
    for picture in pictures:
        made = plotly_json(picture)
        tags = {tag for text in texts_of(made) for tag in re.findall(r"</?\w+|<!", text)}
        assert tags <= {"<br", "<extra", "</extra"}  # ours, between lines and at the end of a tooltip
        assert json.loads(json_text(made)) == made
