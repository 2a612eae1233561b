"""The slider of the thresholds: it moves the rates of the chosen model and class."""

import pytest

from heads.evaluation.decisions.operating_points import Rule
from pipeline.report.render.page import Part, page_of
from pipeline.report.section import build, clips_of
from pipeline.report.sections import SECTIONS
from tests.pipeline.report.decided import decided_study


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    """The page of an experiment with an operating point."""
    folder = tmp_path_factory.mktemp("decided")
    study = decided_study(folder, "single-label", rule=Rule("min_recall", 0.9))
    sections = build(study, SECTIONS)
    path = folder / "index.html"
    path.write_text(page_of([Part(study, sections, [None] * len(clips_of(sections)))]), encoding="utf-8")
    return path


def thresholds_of(page):
    section = page.locator('[data-section="thresholds"]')
    section.scroll_into_view_if_needed()
    section.locator(".figure.js-plotly-plot").first.wait_for()
    return section, page.evaluate("report.data('thresholds', document.querySelector('[data-section=thresholds]'))")


def shown(section):
    return [float(text) for text in section.locator(".rates strong").all_inner_texts()]


def test_the_slider_shows_the_rates_of_its_threshold(open_page, decided):
    page = open_page(decided)
    section, data = thresholds_of(page)
    slider = section.get_by_role("slider")
    own = data["models"][0][0]
    assert section.locator(".at").inner_text() == f"{own['chosen']:.2f}"
    slider.focus()
    for key, step in (("ArrowRight", 1), ("Home", None), ("ArrowRight", 1)):
        before = int(slider.input_value())
        page.keyboard.press(key)
        at = 0 if step is None else before + step
        assert section.locator(".at").inner_text() == f"{data['thresholds'][at]:.2f}"
        assert shown(section) == pytest.approx([curve["values"][at] for curve in own["curves"]], abs=6e-4)
        assert slider.get_attribute("aria-valuetext").startswith(f"{data['thresholds'][at]:.2f}: precision ")
    section.get_by_role("button", name="Go to the chosen threshold").click()
    assert section.locator(".at").inner_text() == f"{own['chosen']:.2f}"


def test_a_class_and_a_model_have_their_own_curves_and_mark(open_page, decided):
    page = open_page(decided)
    section, data = thresholds_of(page)
    section.get_by_label("Model").select_option("1")
    section.get_by_label("Class").select_option("2")
    own = data["models"][1][2]
    at = round(100 * own["chosen"])
    assert shown(section) == pytest.approx([curve["values"][at] for curve in own["curves"]], abs=6e-4)
    page.wait_for_timeout(300)  # the chart is drawn in the next frame
    chart = section.locator(".figure.js-plotly-plot").first
    lines = chart.evaluate("place => place.data.filter(trace => !trace.fill).map(trace => trace.y)")
    assert lines == [*(curve["values"] for curve in own["curves"]), [0, 1]]
    assert chart.evaluate("place => place.data[place.data.length - 1].x") == [own["chosen"]] * 2
    assert chart.evaluate("place => place.layout.shapes.map(shape => shape.x0)") == [data["thresholds"][at]]
    assert chart.evaluate("place => place.layout.showlegend")
    assert section.locator(".choice:visible th.whole").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_both_sections(open_page, decided, screenshot, scheme):
    page = open_page(decided, viewport={"width": 390, "height": 800}, color_scheme=scheme)
    section, _ = thresholds_of(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for one in (page.locator('[data-section="calibration"]'), section):
        one.scroll_into_view_if_needed()
    section.screenshot(path=screenshot(f"thresholds-phone-{scheme}"))
