"""Classes, hard clips and the map in a browser: every number and every point opens its clips."""

import pytest

from tests.browser.test_report import played, see_all


def chosen(section, label, value):
    """Choose in a select of a section."""
    section.get_by_label(label).select_option(value)


def classes_of(page):
    """The section of classes, once it is drawn."""
    section = page.locator('[data-section="classes"]')
    section.scroll_into_view_if_needed()
    section.locator(".matrix.square td button").first.wait_for()
    return section


def test_a_cell_lists_as_many_clips_as_it_counts_and_all_are_of_its_classes(open_page, report):
    page = open_page(report)
    section = classes_of(page)
    data = page.evaluate("report.data('classes', document.querySelector('[data-section=classes]'))")
    study = page.evaluate("report.study(document.querySelector('section'))")
    for number in range(len(study["models"])):
        section.locator("select.model").select_option(str(number))
        own = data["models"][number]
        counts = sum(count for _, _, count, _ in own["cells"])
        assert counts == pytest.approx(len(study["clips"]), abs=0.01)
        texts = section.locator(".matrix.square td button").all_inner_texts()
        assert len(texts) == len(own["cells"])
        row, column = own["ranked"][0]
        clips = next(cell[3] for cell in own["cells"] if cell[:2] == [row, column])
        section.locator(".ranked button").first.click()
        assert section.locator(".clips.mistakes .clip").count() == min(20, len(clips))
        for clip in clips:
            assert study["clips"][clip]["target"] == row
            assert column in [predicted[clip] for predicted in study["models"][number]["predicted"]]


def test_arrow_keys_walk_through_the_matrix_which_is_one_stop_of_tab(open_page, report):
    page = open_page(report)
    section = classes_of(page)
    table = section.locator(".matrix.square")
    assert table.locator("button[tabindex='0']").count() == 1
    table.locator("button[tabindex='0']").focus()
    place = "[document.activeElement.closest('tr').rowIndex, document.activeElement.closest('td').cellIndex]"
    first = page.evaluate(place)
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    assert page.evaluate(place)[0] >= first[0]
    page.keyboard.press("Enter")
    assert section.locator(".clips.mistakes .clip").count() > 0
    assert table.locator("button[tabindex='0']").count() == 1


def test_orders_of_classes_change_the_order_and_nothing_else(open_page, report):
    page = open_page(report)
    section = classes_of(page)
    rows = section.locator(".matrix.square tbody th")
    orders = {}
    for value in ("alike", "hardest", "name"):
        section.locator("select.order").select_option(value)
        orders[value] = rows.all_inner_texts()
        assert sorted(orders[value]) == sorted(orders["alike"])
    labels = page.evaluate("report.study(document.querySelector('section')).labels.length")
    assert all(len(order) == labels for order in orders.values())
    scores = section.locator(".scores tbody tr")
    before = scores.all_inner_texts()
    section.locator("select.score-order").select_option("name")
    assert scores.all_inner_texts() != before or labels < 2
    assert sorted(scores.all_inner_texts()) == sorted(before)
    assert [int(row.get_attribute("data-class")) for row in scores.all()] == list(range(labels))


def test_a_number_of_the_table_of_classes_lists_the_clips_of_its_class(open_page, report):
    page = open_page(report)
    section = classes_of(page)
    row = section.locator(".scores tbody tr").nth(1)
    row.locator("button").first.click()
    study = page.evaluate("report.study(document.querySelector('section'))")
    of_class = [clip for clip in study["clips"] if clip["target"] == int(row.get_attribute("data-class"))]
    assert section.locator(".clips.scored .clip").count() == len(of_class)
    assert row.locator("button").first.get_attribute("title").count("95 % interval") == 1


def test_the_most_frequent_error_is_played_from_the_top(open_page, report):
    page = open_page(report)
    page.get_by_role("button", name="Play its most frequent error").click()
    assert played(page) == pytest.approx(0.3, abs=0.05)


def test_a_row_of_hard_clips_plays_its_clip_and_pauses_it(open_page, report):
    page = open_page(report)
    section = page.locator('[data-section="hard-clips"]')
    button = section.locator("[data-clips]:visible").first
    button.click()
    assert played(page) > 0
    section.locator("[data-clips][aria-pressed]").wait_for(state="detached")  # at the end of the clip
    for at in range(section.get_by_label("Model").locator("option").count()):
        chosen(section, "Model", str(at))
        assert section.locator(".choice:visible").count() == 1


def test_a_point_of_the_map_plays_its_clip(open_page, report):
    page = open_page(report)
    section = page.locator('[data-section="map"]')
    section.scroll_into_view_if_needed()
    page.wait_for_selector('[data-section="map"] .js-plotly-plot .point')
    section.locator(".js-plotly-plot:visible .nsewdrag").scroll_into_view_if_needed()
    place = page.evaluate(
        """() => {
            const chart = [...document.querySelectorAll("[data-section=map] .js-plotly-plot")]
                .find(one => one.offsetParent);
            const {xaxis, yaxis} = chart._fullLayout;
            const box = chart.getBoundingClientRect();
            const trace = chart.data[0];
            return {
                x: box.x + xaxis._offset + xaxis.d2p(trace.x[0]), y: box.y + yaxis._offset + yaxis.d2p(trace.y[0]),
                clips: chart.data.flatMap(own => own.customdata),
            };
        }"""
    )
    assert sorted(place["clips"]) == list(range(36))
    page.mouse.move(place["x"] - 3, place["y"])
    page.mouse.move(place["x"], place["y"])
    page.wait_for_selector('[data-section="map"] .hovertext')
    page.mouse.click(place["x"], place["y"])
    assert played(page) > 0


def test_the_map_changes_with_backbone_projection_and_class(open_page, report):
    page = open_page(report)
    section = page.locator('[data-section="map"]')
    section.scroll_into_view_if_needed()
    shown = set()
    for backbone in ("0", "1"):
        for projection in ("t-SNE", "PCA"):
            chosen(section, "Backbone", backbone)
            chosen(section, "Projection", projection)
            page.wait_for_selector('[data-section="map"] .choice:not([hidden]) .js-plotly-plot .point')
            charts = section.locator(".figure:visible")
            assert charts.count() == 1
            shown.add(charts.first.get_attribute("data-figure"))
    assert shown == {"map-mfcc-pca", "map-mfcc-t-sne", "map-wav2vec2-pca", "map-wav2vec2-t-sne"}
    section.get_by_label("Highlight").select_option(index=2)
    opacities = page.evaluate(
        """[...document.querySelectorAll("[data-section=map] .js-plotly-plot")].find(one => one.offsetParent)
            .data.map(trace => trace.opacity)"""
    )
    assert sorted(opacities) == [0.12, 0.12, 0.12, 1] and opacities[1] == 1


def test_charts_chosen_later_follow_the_theme(open_page, report):
    page = open_page(report, color_scheme="light")
    see_all(page)
    page.get_by_role("button", name="Dark theme").click()
    section = page.locator('[data-section="map"]')
    section.scroll_into_view_if_needed()
    chosen(section, "Projection", "PCA")
    page.wait_for_selector('[data-section="map"] .choice:not([hidden]) .js-plotly-plot .point')
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    chosen(section, "Projection", "t-SNE")  # drawn before, in light colours
    style = section.locator(".js-plotly-plot:visible .main-svg").first.evaluate("one => one.style.background")
    assert style.replace(" ", "") == ground.replace(" ", "")
