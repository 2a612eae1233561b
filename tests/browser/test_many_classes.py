"""The page of an experiment with many classes and clips."""

import pytest

from pipeline.report.analysis import samples
from pipeline.report.render.page import Part, page_of
from pipeline.report.section import build, clips_of
from pipeline.report.sections import SECTIONS
from tests.pipeline.report.toy_studies import random_study

LABEL = "class 57"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The path of its page."""
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "MOST_LISTED", 400)
        study = random_study(1500, 130, 3, folder=folder)
        sections = build(study, SECTIONS)
        shown = clips_of(sections)
        assert 0 < len(shown) < 1000
        (folder / "index.html").write_text(page_of([Part(study, sections, [None] * len(shown))]))
    return folder / "index.html"


def classes(page):
    section = page.locator('section[data-section="classes"]')
    section.scroll_into_view_if_needed()
    section.locator(".ranked li").first.wait_for()
    return section


def test_a_search_leaves_the_errors_and_classes_that_match(open_page, large):
    section = classes(open_page(large))
    assert section.locator(".ranked li").count() == 25
    section.get_by_label("Find class").fill(LABEL.upper())
    errors = section.locator(".ranked li").all_inner_texts()
    assert errors and all(LABEL in text for text in errors)
    assert section.locator(".class-scores tbody tr").all_inner_texts()[0].startswith(LABEL)
    assert section.locator(".class-scores tbody tr").count() == 1
    section.get_by_label("Find class").fill("no such class")
    assert section.locator(".found").inner_text().startswith("0 kinds of errors")
    assert section.locator(".ranked li").count() == 0


def test_more_errors_and_classes_are_shown_on_demand(open_page, large):
    section = classes(open_page(large))
    section.locator(".more-errors").click()
    assert section.locator(".ranked li").count() == 50
    assert section.locator(".class-scores tbody tr").count() == 25
    section.locator(".more-classes").click()
    assert section.locator(".class-scores tbody tr").count() == 50


def test_a_block_lists_its_errors_and_an_error_its_clips(open_page, large):
    page = open_page(large)
    section = classes(page)
    whole = section.locator(".found").inner_text()
    section.locator(".blocks button.mistake").first.click()
    assert "predicted as" in section.locator(".found").inner_text()
    assert section.locator(".ranked li").count() < 25
    section.get_by_role("button", name="Show all").click()
    assert section.locator(".found").inner_text() == whole
    section.locator(".ranked button:enabled").first.click()
    card = section.locator(".clips.mistakes .clip").first
    assert "✗ wrong" in card.inner_text() and card.locator("tbody tr").count() >= 3


@pytest.mark.parametrize("width", [1400, 390])
def test_it_looks_right_at_both_widths(open_page, large, screenshot, width):
    page = open_page(large, viewport={"width": width, "height": 900})
    classes(page)
    page.screenshot(path=screenshot(f"many-classes-{width}"), full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
