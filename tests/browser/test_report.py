"""The report in a browser, opened from a file."""

import re

import pytest

from pipeline.console import Console
from pipeline.report.run import run_report
from tests.pipeline.report.experiments import LABELS

DRAWN = ".js-plotly-plot .main-svg"


def column(page, heading):
    """The shown cells of a column of the results table, from top to bottom."""
    return page.evaluate(
        """heading => {
            const table = document.querySelector("table.results");
            const at = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent.startsWith(heading));
            return [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[at].textContent.trim());
        }""",
        heading,
    )


def see_all(page):
    """Scroll through the page, open what is closed, and wait until every chart is drawn."""
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    height = page.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height, 500):
        page.evaluate(f"window.scrollTo(0, {top})")
        page.wait_for_timeout(30)
    visible = "[...document.querySelectorAll('.figure')].filter(one => one.offsetParent)"
    page.wait_for_function(f"{visible}.every(one => one.matches('.js-plotly-plot'))")


def play(audio):
    """Load an audio element; its duration in seconds."""
    return audio.evaluate(
        """audio => new Promise((done, failed) => {
            audio.addEventListener("loadedmetadata", () => done(audio.duration));
            audio.addEventListener("error", () => failed(audio.error ? audio.error.message : "error"));
            audio.preload = "auto";
            audio.load();
        })"""
    )


def test_a_heading_sorts_by_its_column_and_back(open_page, report):
    page = open_page(report)
    button = page.get_by_role("button", name="accuracy", exact=True)
    best_first = sorted(map(float, column(page, "accuracy")), reverse=True)
    button.click()
    assert list(map(float, column(page, "accuracy"))) == best_first
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    button.focus()
    page.keyboard.press("Enter")
    assert list(map(float, column(page, "accuracy"))) == best_first[::-1]
    page.get_by_role("button", name="model", exact=True).click()
    assert column(page, "model") == ["majority", "mfcc", "mfcc", "wav2vec2", "wav2vec2"]
    assert page.locator("th[aria-sort]").count() == 1


def test_filters_leave_the_rows_that_were_asked_for(open_page, report):
    page = open_page(report)
    count = page.locator(".table-tools output")
    page.get_by_label("family").select_option("frozen")
    assert set(column(page, "model")) == {"wav2vec2"} and count.inner_text() == "2 of 5 models"
    page.get_by_label("head").select_option("knn")
    assert count.inner_text() == "1 of 5 models"
    page.get_by_label("family").select_option("")
    page.get_by_label("head").select_option("")
    page.get_by_label("Find").fill("MFCC knn")
    assert (column(page, "model"), column(page, "head")) == (["mfcc"], ["knn"])
    page.get_by_label("Find").fill("")
    assert count.inner_text() == "5 models"


def test_a_confusion_is_played_in_two_clicks(open_page, report):
    page = open_page(report)
    page.locator('section[data-section="classes"]').scroll_into_view_if_needed()
    cell = page.locator(".matrix.square td button.mistake").first
    expected = float(cell.inner_text())
    cell.click()  # the first
    cards = page.locator(".clips.mistakes .clip")
    assert cards.count() >= expected > 0
    card = cards.first
    assert card.locator("tbody tr").count() >= 4  # every model has a prediction
    assert "✗ wrong" in card.inner_text()
    truth = card.locator("strong").inner_text()
    assert truth.strip() in {" ".join(label.split()) for label in LABELS}
    assert play(card.locator("audio")) == pytest.approx(0.3, abs=0.05)  # the second is the player's own button
    assert page.evaluate("document.activeElement.className") == "clips-caption"


def test_every_clip_plays_whatever_its_name_and_format(open_page, report):
    page = open_page(report)
    count = page.evaluate("report.study(document.querySelector('section')).clips.length")
    page.evaluate(
        """count => {
            const container = document.createElement("div");
            container.className = "clips all";
            document.querySelector("article").append(container);
            report.clipList(container, report.study(container), [...Array(count).keys()], "all");
        }""",
        count,
    )
    shown = page.locator(".clips.all audio")
    assert shown.count() == 20
    page.locator(".clips.all > button").click()
    assert shown.count() == count == 36
    for at in range(count):
        audio = shown.nth(at)
        source = audio.get_attribute("src")
        assert play(audio) == pytest.approx(5.2 if "#t=" in source else 0.3, abs=0.05), source


def test_a_part_of_a_file_plays_that_part_alone(open_page, report):
    page = open_page(report)
    played = page.evaluate(
        """async () => {
            const study = report.study(document.querySelector("section"));
            const at = study.clips.findIndex(clip => clip.src.endsWith("#t=0.600,0.900"));
            const card = report.clipCard(study, at);
            document.body.append(card);
            const audio = card.querySelector("audio");
            audio.muted = true;
            const heard = [];
            for (const round of [1, 2]) {  // browsers may stop at the end of #t= themselves, but only the first time
                const times = [];
                const note = () => times.push(audio.currentTime);
                audio.addEventListener("timeupdate", note);
                const stopped = new Promise(done => audio.addEventListener("pause", done, {once: true}));
                await audio.play();
                await stopped;
                audio.removeEventListener("timeupdate", note);
                heard.push(times);
            }
            return heard;
        }"""
    )
    for times in played:  # the delay after 0.9 s depends on the machine
        assert min(times) > 0.55 and 0.85 < max(times) < 5


def test_embedded_audio_plays_without_any_file(open_page, experiment, tmp_path):
    run_report(experiment, console=Console(), output=tmp_path / "sent", audio="embed")
    alone = (tmp_path / "sent" / "index.html").rename(tmp_path / "alone.html")
    page = open_page(alone)
    page.evaluate("document.body.append(report.clipCard(report.study(document.querySelector('section')), 0))")
    audio = page.locator("body > .clip audio")
    assert audio.get_attribute("src").startswith("data:audio/mpeg")
    assert play(audio) == pytest.approx(0.3, abs=0.1)


def test_a_page_without_its_audio_reports_it(open_page, report, tmp_path):
    moved = tmp_path / "moved.html"
    moved.write_bytes(report.read_bytes())
    page = open_page(moved)
    page.evaluate(
        """() => {
            const card = report.clipCard(report.study(document.querySelector("section")), 0);
            document.body.append(card);
            card.querySelector("audio").load();
            card.querySelector("audio").play().catch(() => {});
        }"""
    )
    page.locator("body > .clip .note").wait_for()
    assert "cannot be played here: no audio at ../" in page.locator("body > .clip .note").inner_text()
    assert open_page.seen and all("ERR_FILE_NOT_FOUND" in message for message in open_page.seen)
    open_page.seen.clear()


def test_no_name_becomes_markup_or_runs(open_page, report):
    page = open_page(report)
    see_all(page)
    page.evaluate("document.querySelectorAll('main button').forEach(button => button.click())")
    page.evaluate(
        """document.querySelectorAll('main select').forEach(select => {
            select.value = select.options[select.options.length - 1].value;
            select.dispatchEvent(new Event('input', {bubbles: true}));
            select.dispatchEvent(new Event('change', {bubbles: true}));
        })"""
    )
    see_all(page)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main iframe, svg a, main a:not([href^='#'])").count() == 0
    assert "{{ 7 * 7 }}" in page.content() or "{{ 7 * 7 }}" in page.inner_text("main")
    shown = page.locator(".matrix.square thead th").all_inner_texts()
    assert any("<script>window.hacked = 1</script>" in text for text in shown)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_in_the_colours_of_the_theme(open_page, report, screenshot, scheme):
    page = open_page(report, color_scheme=scheme)
    see_all(page)
    page.screenshot(path=screenshot(f"report-{scheme}"), full_page=True)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 600) == (scheme == "light")
    grounds = page.locator(".main-svg:first-child").evaluate_all("all => all.map(one => one.style.background)")
    assert {ground.replace(" ", "") for ground in grounds} <= {
        page_colour.replace(" ", "") for page_colour in (ground,)
    }


def test_the_button_changes_the_theme_and_the_charts(open_page, report):
    page = open_page(report, color_scheme="light")
    see_all(page)
    before = page.locator(".main-svg").first.get_attribute("style") if page.locator(DRAWN).count() else ""
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    if before:
        assert page.locator(".main-svg").first.get_attribute("style") != before
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"


def test_a_phone_shows_it_without_scrolling_sideways(open_page, report, screenshot):
    page = open_page(report, viewport={"width": 360, "height": 740})
    see_all(page)
    page.screenshot(path=screenshot("report-phone"), full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wide = page.evaluate(
        """[...document.querySelectorAll("main *")].filter(one => {
            const box = one.getBoundingClientRect();
            const scrolls = ".scroll, pre, svg, nav, .sr-only, .js-plotly-plot";
            return box.width > 0 && box.right > 361 && !one.closest(scrolls);
        }).map(one => one.outerHTML.slice(0, 120))"""
    )
    assert wide == []


def test_paper_gets_every_section_in_light_colours(open_page, report, screenshot):
    page = open_page(report, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert not page.locator("nav").is_visible()
    charts, drawn = page.locator(".figure:visible"), page.locator(".figure.js-plotly-plot:visible")
    assert drawn.count() == charts.count()
    page.screenshot(path=screenshot("report-print"), full_page=True)


def test_without_javascript_the_answer_and_the_table_are_there(chromium, report):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("p.answer").is_visible() and page.locator("table.results tbody tr").count() == 5
    context.close()


def test_everything_that_can_be_pressed_can_be_reached_by_keyboard_and_has_a_name(open_page, report):
    page = open_page(report)
    see_all(page)
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, select, input, a, summary")].filter(one =>
            one.offsetParent && !one.textContent.trim() && !one.getAttribute("aria-label") && !one.labels?.length
        ).map(one => one.outerHTML)"""
    )
    assert nameless == []
    clickable = page.evaluate(
        """[...document.querySelectorAll("main [onclick], main [role=button]:not(button)")].length"""
    )
    assert clickable == 0
    assert page.locator(".figure:not([aria-label])").count() == 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_the_values_of_a_chart_are_a_table_whose_clips_play(open_page, report):
    page = open_page(report)
    charts = page.locator("figure.chart:has(> .clips)")
    if not charts.count():
        pytest.skip("no section of this experiment draws clips")
    chart = charts.first
    chart.locator("summary").click()
    chart.locator("details button").first.click()
    assert chart.locator(".clips .clip audio").count() == 1
