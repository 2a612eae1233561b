"""The sections on calibration and thresholds: their numbers are those of the files."""

import json

import numpy as np
import pandas as pd
import pytest

from heads.evaluation.decisions.operating_points import Rule
from pipeline.report.render.files import write_tables
from pipeline.report.render.page import render
from pipeline.report.sections.decisions import calibration, thresholds
from tests.pipeline.report.decided import decided_study
from tests.pipeline.report.toy_studies import manifest_of, random_study, study_of

RATES = ["precision", "recall", "false_positive_rate"]


@pytest.fixture(scope="module", params=["single-label", "multi-label"])
def study(request, tmp_path_factory):
    return decided_study(tmp_path_factory.mktemp("decided"), request.param, rule=Rule("min_recall", 0.9))


@pytest.fixture(scope="module")
def files(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_tables(folder, [study])
    return folder


def estimate(row, name):
    return "{:.3f} ({:.3f}–{:.3f})".format(*(row[f"{name}{end}"] for end in ("", "_ci_low", "_ci_high")))


def test_the_table_of_calibration_is_that_of_the_file(study, files):
    section = calibration.section(study)
    written = pd.read_csv(files / "calibration.csv", keep_default_na=False, na_values=[""])
    rows = section.context["rows"]
    order = [f"{one.row['model']}" for one in study.models]
    assert [row["title"].split(" · ")[0] for row in rows] == sorted(written["model"], key=order.index)
    html = render(section, study).html
    for row in rows:
        of_row = (written["model"] == row["title"].split(" · ")[0]) & (written["calibration"] == row["map"])
        (own,) = written[of_row].to_dict("records")
        texts = [f"{own['ece']:.3f}", f"{own['adaptive_ece']:.3f}", estimate(own, "brier"), estimate(own, "log_loss")]
        assert [text for _, text in row["scores"]] == texts and all(text in html for text in texts)
        assert row["mark"] == ("" if row["map"] == "none" else "applied")
    if study.manifest.task == "single-label":
        assert (
            section.context["majority"] == pytest.approx(written["log_loss_majority"][0])
            and rows[-1]["title"] == "majority"
        )


def test_the_reliability_curves_are_those_of_the_file(study, files):
    entries = json.loads((files / "calibration.json").read_text())["toy"]
    figures = calibration.section(study).figures
    for number, model in enumerate(study.learned, 1):
        for series in figures[f"reliability-{number}"].series[1:]:
            kind = "none" if series.name == "without a map" else series.name.removeprefix("with ")
            (own,) = [one for one in entries if (one["model"], one["calibration"]) == (model.row["model"], kind)]
            found = [list(values) for values in zip(series.x, series.y, series.y_low, series.y_high, strict=True)]
            assert found == [[one["predicted"], *one["observed"]] for one in own["reliability"]]


def test_the_slider_has_the_curves_of_the_file_and_the_chosen_thresholds(study, files):
    section = thresholds.section(study)
    entries = {one["model"]: one for one in json.loads((files / "thresholds.json").read_text())["toy"]}
    written = pd.read_csv(files / "thresholds.csv").set_index(["model", "class"])["threshold"]
    assert section.data["rates"] == RATES and section.context["views"] == ["all decisions together", "a", "b", "c", "d"]
    for model, views in zip(study.learned, section.data["models"], strict=True):
        entry = entries[model.row["model"]]
        assert section.data["thresholds"] == entry["thresholds"]
        for rate, shown in zip(RATES, views[0]["curves"], strict=True):
            known = [one[rate] or [None] * 3 for one in entry["micro"]]
            for at, end in enumerate(("values", "low", "high")):
                assert shown[end] == [None if one[at] is None else round(one[at], 4) for one in known]
        for label, view in zip("abcd", views[1:], strict=True):
            for rate, shown in zip(RATES, view["curves"], strict=True):
                values = entry["classes"][label][rate]
                assert shown["values"] == [None if one is None else round(one, 4) for one in values]
            assert view["chosen"] == pytest.approx(written[model.row["model"], label], abs=1e-4)


def test_the_table_of_thresholds_is_that_of_the_file(study, files):
    section = thresholds.section(study)
    written = pd.read_csv(files / "thresholds.csv")
    html = render(section, study).html
    for model, rows in zip(study.learned, section.context["tables"], strict=True):
        own = written[written["model"] == model.row["model"]].to_dict("records")
        assert len(rows) == len(own) == 6
        for row, stored in zip(rows, own, strict=True):
            for name in ("roc_auc", "average_precision", "equal_error_rate"):
                assert row["cells"][name][1] == estimate(stored, name) and row["cells"][name][1] in html
            if stored["scope"] != "macro":
                assert row["cells"]["recall"][1] == estimate(stored, "recall")
                assert row["gaps"]["recall"] == f"{stored['recall_gap']:+.3f}"
                assert row["threshold"].startswith(f"{stored['threshold']:.2f} (")


def test_accuracy_against_coverage_is_that_of_the_file(study, files):
    figures = thresholds.section(study).figures
    if study.manifest.task == "multi-label":
        assert "coverage" not in figures
        return
    entries = json.loads((files / "calibration.json").read_text())["toy"]
    for model, series in zip(study.learned, figures["coverage"].series, strict=True):
        (own,) = [one for one in entries if one["model"] == model.row["model"] and one["applied"]]
        points = own["accuracy_by_coverage"]
        assert list(series.x) == [one["coverage"] for one in points]
        assert list(series.y) == [one["accuracy"][0] for one in points]
        assert series.y[-1] == pytest.approx(model.row["accuracy"])


def test_without_an_operating_point_no_threshold_is_marked(tmp_path):
    section = thresholds.section(decided_study(tmp_path, "single-label", method=None))
    assert section.context["rule"] == "" and all(
        view["chosen"] is None for own in section.data["models"] for view in own
    )
    assert [series.name for series in section.figures["rates"].series] == [rate.replace("_", " ") for rate in RATES]


def test_many_classes_have_one_curve_and_the_worst_in_the_table(tmp_path):
    study = random_study(180, 60, 1, seeds=1, folder=tmp_path)
    section = thresholds.section(study)
    assert section.context["views"] == ["all decisions together"] and len(section.data["models"][0]) == 1
    (rows,) = section.context["tables"]
    every = study.decisions.thresholds.query("scope == 'class'")["average_precision"]
    assert [row["cells"]["average_precision"][0] for row in rows[2:]] == sorted(every)[:20]
    assert "The table lists the 20 of 60 classes" in render(section, study).html


def test_numbers_have_neither_section(tmp_path):
    manifest = manifest_of(list(np.linspace(0, 1, 40)), "regression")
    study = study_of(manifest, {"m · linear": np.linspace(0, 1, 40)[None, :, None]}, folder=tmp_path)
    assert calibration.section(study) is None and thresholds.section(study) is None


def test_probabilities_worse_than_the_majority_are_named(tmp_path):
    rng = np.random.default_rng(0)
    manifest = manifest_of([f"class{row % 4}" for row in range(80)])
    wrong = rng.dirichlet([0.05] * 4, (1, 80))
    section = calibration.section(study_of(manifest, {"m · linear": wrong}, folder=tmp_path, majority=True))
    assert section.context["worse"] == ["m · linear"]
