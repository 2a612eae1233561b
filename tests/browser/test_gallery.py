"""The pages of the documentation's gallery, if `make gallery` has made them; and the picture of the README."""

from pathlib import Path

import pytest

from tests.browser.test_report import played

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"


def gallery_page(name: str) -> Path:
    page = GALLERY / name / "index.html"
    if not page.is_file():
        pytest.skip(f"no {page.relative_to(GALLERY.parents[1])}; `make gallery` makes it")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_of_esc10_shows_the_answer_and_the_table(open_page, screenshot, scheme):
    page = open_page(gallery_page("esc10"), viewport={"width": 1400, "height": 900}, color_scheme=scheme)
    assert page.locator('[data-section="answer"] table').first.is_visible()
    # docs/images/report-light.png and report-dark.png are these pictures
    page.screenshot(path=screenshot(f"gallery-esc10-{scheme}"))


@pytest.mark.parametrize("width", [1400, 390])
def test_the_demos_page_plays_its_clips(open_page, width):
    page = open_page(gallery_page("demo"), viewport={"width": width, "height": 900})
    page.locator("[data-clips]:visible").first.click()
    assert played(page) > 0
