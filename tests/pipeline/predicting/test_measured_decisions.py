"""Exported folders and cards state what the report measured about calibration, thresholds and false alarms."""

import json
import os

import pandas as pd
import pytest

from pipeline.console import Console
from pipeline.report.run import run_report
from tests.pipeline.predicting.conftest import run
from tests.pipeline.stages.test_background import QUIET, experiment, recording, sounds

pytestmark = pytest.mark.e2e  # trains heads


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The run of an experiment with a temperature, thresholds and background."""
    root = tmp_path_factory.mktemp("reported")
    sounds(root)
    for number in range(6):
        recording(root / "noise" / f"{number}.wav", number, [(2, 300), (3, 300), (6, 900)])
    config, _ = experiment(root, calibrate="temperature", operating_point=QUIET, background_in=["valid", "test"])
    run_report(config, console=Console())
    return config.run_dir


def exported(model, folder, *options):
    assert run("export", model, folder, *options) == 0
    return json.loads((folder / "config.json").read_text()), (folder / "README.md").read_text(encoding="utf-8")


def test_the_card_has_the_numbers_of_the_report(reported, tmp_path):
    model, report = reported / "models" / "mfcc" / "linear", reported / "report"
    about, card = exported(model, tmp_path / "made")
    calibration = pd.read_csv(report / "calibration.csv").query("model == 'mfcc'").set_index("calibration")
    thresholds = pd.read_csv(report / "thresholds.csv").query("scope == 'micro'").iloc[0]
    alarms = pd.read_csv(report / "false_alarms.csv").query("scope == 'all' and averaged").iloc[0]
    kept = about["measured_decisions"]
    assert [row["ece"] for row in kept["calibration"]] == calibration.loc[["none", "temperature"], "ece"].tolist()
    assert kept["thresholds"]["recall"] == thresholds["recall"] and kept["thresholds"]["precision"] is None
    assert kept["false_alarms"]["false_alarms_per_hour"] == alarms["false_alarms_per_hour"]
    assert f"| expected calibration error, with temperature | {calibration.loc['temperature', 'ece']:.3f} |" in card
    assert "| precision at `max_false_alarms_per_hour 900`, all classes | – |  |" in card  # nothing was decided
    for rate in ("recall", "false_positive_rate"):
        ends = f"{thresholds[f'{rate}_ci_low']:.3f}–{thresholds[f'{rate}_ci_high']:.3f}"
        assert f"all classes | {thresholds[rate]:.3f} | {ends} |" in card
    ends = (alarms[f"false_alarms_per_hour_ci_{end}"] for end in ("low", "high"))
    low, high = (f"{end:.1f}" if end >= 10 else f"{end:.3f}" for end in ends)
    assert f"| false alarms per hour of background | {alarms['false_alarms_per_hour']:.1f} | {low}–{high} |" in card
    assert "3 recordings" in card and "max_false_alarms_per_hour 900" in card


def test_an_export_of_an_export_keeps_them(reported, tmp_path):
    about, card = exported(reported / "models" / "mfcc" / "linear", tmp_path / "first")
    again, second = exported(tmp_path / "first", tmp_path / "second", "--clips", reported.parents[1] / "sounds")
    assert again["measured_decisions"] == about["measured_decisions"]
    assert "| false alarms per hour of background |" in card and "| false alarms per hour of background |" in second


@pytest.mark.parametrize("newer", ["fit.json", "decisions.json", "background.parquet"])
def test_a_report_older_than_the_model_is_not_quoted(reported, tmp_path, newer):
    model = reported / "models" / "mfcc" / "linear"
    before = (model / newer).stat()
    os.utime(model / newer)
    try:
        about, card = exported(model, tmp_path / "made")
    finally:
        os.utime(model / newer, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "measured_decisions" not in about
    assert "| false alarms" not in card and "the model has no current report" in card
