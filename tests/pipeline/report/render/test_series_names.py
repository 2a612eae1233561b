"""Names of series inside a chart."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.figure import Axis, Figure, Series
from pipeline.report.render.drawing import plotly_json
from pipeline.report.render.series_names import spread

HEIGHTS = st.lists(st.floats(0, 1), max_size=12)


@given(HEIGHTS)
def test_names_keep_their_order_and_their_distance(heights):
    moved = spread(heights, 0.1)
    assert len(moved) == len(heights)
    for (one, own), (other, its) in itertools.combinations(zip(heights, moved, strict=True), 2):
        assert abs(own - its) > 0.1 - 1e-9
        assert one >= other or own < its
    assert sum(moved) == pytest.approx(sum(heights), abs=1e-9)  # no name is moved for nothing


def test_names_that_do_not_overlap_stay():
    assert spread([0.9, 0.1, 0.5], 0.1) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])


def test_lines_are_named_at_their_ends_in_their_colours():
    series = [Series(name, [1, 10], [0.2, height], mark="line") for name, height in (("a", 0.8), ("<b>", 0.81))]
    figure = Figure("", Axis("clips", log=True), Axis("accuracy"), series, named=True)
    made = plotly_json(figure)
    first, second = made["layout"]["annotations"]
    assert (first["x"], second["x"]) == (1, 1)  # the exponent, as Plotly wants it
    assert (first["text"], second["text"]) == ("a", "&lt;b&gt;")
    assert first["font"]["color"] == made["data"][0]["marker"]["color"]
    low, high = made["layout"]["yaxis"]["range"]
    assert low < first["y"] < second["y"] < high
    assert made["layout"]["meta"]["named"] and made["layout"]["showlegend"]  # narrow charts show the legend instead


def test_points_are_named_on_their_points_unless_names_overlap():
    series = [
        Series("many", [0.0, 0.1, 0.2], [0.5, 0.5, 0.5]),
        Series("few", [0.1], [0.5]),
        Series("elsewhere", [-0.9], [-0.5]),
    ]
    axes = Axis("", range=(-1, 1)), Axis("", range=(-1, 1))
    made = plotly_json(Figure("", *axes, series, named=True, height=620))
    assert [(own["text"], own["x"], own["y"]) for own in made["layout"]["annotations"]] == [
        ("many", 0.1, 0.5),
        ("elsewhere", -0.9, -0.5),
    ]
