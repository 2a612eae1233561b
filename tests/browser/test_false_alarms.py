"""The section on false alarms: its numbers are those of the files, and its windows can be heard."""

import json
import re

import pandas as pd
import pytest

from pipeline.console import Console
from pipeline.report.run import run_report
from tests.pipeline.stages.test_background import WINDOW_S, experiment, recording, sounds


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """The folder of the report of an experiment with background, whose recordings contain tones of both classes."""
    root = tmp_path_factory.mktemp("noisy")
    sounds(root)
    for number in range(6):
        recording(root / "noise" / f"{number}.wav", number, [(2, 300), (3, 300), (6, 900)])
    config, _ = experiment(root, operating_point={"min_recall": 0.9}, background_in=["valid", "test"])
    run_report(config, console=Console())
    return config.run_dir / "report"


def section_of(page):
    section = page.locator('[data-section="false-alarms"]')
    section.scroll_into_view_if_needed()
    return section


def test_the_numbers_are_those_of_the_files(open_page, noisy):
    section = section_of(open_page(noisy / "index.html"))
    table = pd.read_csv(noisy / "false_alarms.csv")
    rows = table[table["scope"] == "all"]
    (own,) = next(iter(json.loads((noisy / "false_alarms.json").read_text()).values()))
    assert [row["false_alarms"] for row in own["rows"]] == table["false_alarms"].tolist()
    shown = section.locator("table").first.locator("tbody tr")
    assert shown.count() == len(rows) > 1
    for at, (_, row) in enumerate(rows.iterrows()):
        cells = shown.nth(at).locator("td").all_inner_texts()
        assert cells[0].startswith(row["rule"])
        assert float(re.match(r"[\d.e+]+", cells[1])[0]) == pytest.approx(row["false_alarms_per_hour"], rel=0.01)
        assert float(cells[3]) == pytest.approx(row["false_alarms"], rel=0.001)


def test_the_loudest_windows_can_be_heard_and_only_one_at_a_time(open_page, noisy):
    page = open_page(noisy / "index.html")
    players = section_of(page).locator("audio")
    (own,) = next(iter(json.loads((noisy / "false_alarms.json").read_text()).values()))
    assert players.count() == len(own["loudest"]) > 1
    start = float(own["loudest"][0]["id"].split("@")[1].split("+")[0])
    first, second = players.nth(0), players.nth(1)
    first.evaluate("audio => audio.play()")
    assert start <= first.evaluate("audio => audio.currentTime") < start + WINDOW_S
    second.evaluate("audio => audio.play()")
    page.wait_for_function("[...document.querySelectorAll('[data-section=false-alarms] audio')][0].paused")
