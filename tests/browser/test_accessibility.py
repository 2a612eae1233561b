"""The page for readers who use a keyboard or a screen reader: axe-core's rules, targets and scroll boxes."""

import pytest

from tests.browser.test_report import play, see_all

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SERIOUS = ("serious", "critical")
LEAST_PX = 24  # WCAG 2.2, success criterion 2.5.8


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_headings_in_order(open_page, report, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(report, color_scheme=scheme, viewport={"width": width, "height": 900})
    see_all(page)
    play(page, 0)
    page.locator('[data-section="classes"] .ranked button').first.click()  # lists the clips of an error
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": TAGS}}).response["violations"]
    kept = [own for own in found if own["impact"] in SERIOUS or own["id"] == "heading-order"]
    assert [(own["id"], own["help"], [node["html"][:200] for node in own["nodes"][:3]]) for own in kept] == []


@pytest.mark.parametrize("width", [1400, 390])
def test_everything_that_is_pressed_is_large_enough(open_page, report, width):
    page = open_page(report, viewport={"width": width, "height": 900})
    see_all(page)
    play(page, 0)
    small = page.evaluate(
        """least => [...document.querySelectorAll("button, select, input, summary, nav a")].filter(one => {
            const box = one.getBoundingClientRect();
            return box.width > 0 && (box.height < least || box.width < least);
        }).map(one => one.outerHTML.slice(0, 200))""",
        LEAST_PX,
    )
    assert small == []


def test_boxes_that_scroll_are_stops_of_the_keyboard_and_others_are_not(open_page, report):
    page = open_page(report, viewport={"width": 390, "height": 844})
    see_all(page)
    boxes = page.evaluate(
        """[...document.querySelectorAll(".scroll")].filter(one => one.offsetParent).map(one =>
            [one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1, one.tabIndex === 0])"""
    )
    assert any(scrolls for scrolls, _ in boxes) and not all(scrolls for scrolls, _ in boxes)
    assert all(scrolls == stops for scrolls, stops in boxes)
    named = page.locator(".scroll[tabindex]").evaluate_all("all => all.every(one => one.getAttribute('aria-label'))")
    assert named


def test_it_has_an_icon(open_page, report):
    assert open_page(report).locator("link[rel=icon]").get_attribute("href").startswith("data:image/svg+xml")
