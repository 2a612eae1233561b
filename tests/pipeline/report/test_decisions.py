"""Calibration and thresholds of models: scikit-learn's numbers, each fold by its own, and the files of the report."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

from heads.evaluation.decisions.operating_points import Rule
from heads.evaluation.metrics import log_loss, pool
from heads.evaluation.prediction_table import to_table
from heads.evaluation.predictions import Predictions
from pipeline.report.decisions import DecisionRows, DecisionTables
from pipeline.report.render.files import write_tables
from pipeline.results.decisions.fit_decisions import (
    calibrated,
    fit_decisions,
    read_validation,
    write_decisions,
    write_validation,
)
from pipeline.results.fit import Fit
from tests.heads.evaluation.decisions.test_calibrators import clips
from tests.pipeline.report.toy_studies import manifest_of, study_of

N, LABELS = 600, ["a", "b", "c", "d"]


def predicted(task, manifest, off, rows, fold, seed):
    """Predictions for some clips by a model whose temperature is off."""
    probabilities, targets = clips(task, off, N)
    ids = manifest.clips["id"].to_numpy(dtype=object)
    return Predictions(probabilities[rows], targets[rows], ids[rows], fold, seed, "m", "linear", "mean", "0", task=task)


def model(folder, task, *, off=3.0, method=None, rule=None, seeds=2):
    """A model of five folds, whose validation clips are the next fold, and its clips."""
    _, targets = clips(task, off, N)
    names = np.array(LABELS, dtype=object)
    labels = [list(names[row > 0]) for row in targets] if task == "multi-label" else names[targets]
    manifest = manifest_of(labels, task)
    folds = manifest.clips["fold"].to_numpy()
    test, validation = (
        [
            predicted(task, manifest, off, np.flatnonzero(folds == (fold + step - 1) % 5 + 1), fold, seed)
            for fold in range(1, 6)
            for seed in range(seeds)
        ]
        for step in (0, 1)
    )
    folder.mkdir(exist_ok=True)
    write_validation(folder, validation, LABELS)
    decisions = fit_decisions(validation, method, rule)
    if method or rule:
        write_decisions(folder, {}, decisions)
    about = {"dataset": "toy", "model": "m", "head": "linear", "pooling": "mean", "family": "frozen"}
    return Fit(folder, about, to_table(test, LABELS)), manifest, test, decisions


def decision_tables(fits, manifest, groups):
    """The tables of models whose predictions are read one model at a time."""
    rows = DecisionRows(fits, manifest, groups)
    for fit in fits:
        predictions = fit.predictions(manifest.labels, manifest.task) if fit.about else []
        rows.add(fit, predictions, list(pool(predictions).values()) if predictions else [])
    return rows.tables()


def by_name(table, *keys):
    return table.set_index(list(keys))


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_the_temperature_is_shown_beside_none_and_not_applied(tmp_path, task):
    fit, manifest, test, _ = model(tmp_path / "m", task)
    found = decision_tables([fit], manifest, np.arange(N))
    rows = by_name(found.calibration, "calibration")
    assert rows.index.tolist() == ["none", "temperature"] and rows["applied"].tolist() == [True, False]
    assert rows.loc["temperature", "temperature"] == pytest.approx(3, rel=0.25)
    for name in ("ece", "brier", "log_loss"):
        assert rows.loc["temperature", name] < rows.loc["none", name]
    assert (rows["brier_ci_low"] < rows["brier"]).all() and (rows["brier"] < rows["brier_ci_high"]).all()
    (columns,) = found.columns
    assert columns["ece"] == rows.loc["none", "ece"] and columns["calibration"] == "temperature"
    assert columns["log_loss_calibrated"] == rows.loc["temperature", "log_loss"]
    if task == "single-label":
        assert rows.loc["none", "log_loss"] == pytest.approx(log_loss(test))
        assert rows.loc["none", "accuracy"] == rows.loc["temperature", "accuracy"]


def test_the_applied_map_is_in_the_table(tmp_path):
    fit, manifest, test, decisions = model(tmp_path / "m", "single-label", method="platt")
    found = decision_tables([fit], manifest, np.arange(N))
    rows = by_name(found.calibration, "calibration")
    assert rows["applied"].to_dict() == {"none": False, "temperature": False, "platt": True}
    assert rows.loc["platt", "log_loss"] == pytest.approx(log_loss(calibrated(test, decisions)))
    assert found.columns[0]["calibration"] == "platt"


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_scores_and_rates_are_those_of_scikit_learn(tmp_path, task):
    fit, manifest, test, decisions = model(tmp_path / "m", task, rule=Rule("max_f1"), seeds=1)
    found = by_name(decision_tables([fit], manifest, np.arange(N) // 3).thresholds, "scope", "class")
    probabilities = np.concatenate([one.probabilities for one in test])
    targets = np.concatenate([one.targets for one in test])
    truth = targets if task == "multi-label" else np.eye(4, dtype=int)[targets]
    thresholds = np.concatenate(
        [np.tile(decisions[str(one.fold), 0, 0].point.thresholds, (len(one.ids), 1)) for one in test]
    )
    assert found.loc[("micro", ""), "roc_auc"] == pytest.approx(roc_auc_score(truth, probabilities, average="micro"))
    macro = average_precision_score(truth, probabilities, average="macro")
    assert found.loc[("macro", ""), "average_precision"] == pytest.approx(macro)
    for own, label in enumerate(LABELS):
        row, said = found.loc["class", label], probabilities[:, own] >= thresholds[:, own]
        assert row["precision"] == pytest.approx(precision_score(truth[:, own], said))
        assert row["recall"] == pytest.approx(recall_score(truth[:, own], said))
        assert row["false_positive_rate"] == pytest.approx(said[truth[:, own] == 0].mean())
        assert row["recall_gap"] == pytest.approx(row["recall"] - row["recall_validation"])
        assert row["recall_ci_low"] < row["recall"] < row["recall_ci_high"]
        assert (row["fits"], row["fits_met"], row["fits_without_positives"]) == (5, 5, 0)


def test_without_a_goal_there_are_scores_but_no_thresholds(tmp_path):
    fit, manifest, _, _ = model(tmp_path / "m", "multi-label")
    table = decision_tables([fit], manifest, np.arange(N)).thresholds
    assert table["roc_auc"].notna().all() and "threshold" not in table


def test_a_model_of_an_older_version_has_no_map(tmp_path):
    fit, manifest, _, _ = model(tmp_path / "m", "single-label")
    (fit.folder / "validation.parquet").unlink()
    found = decision_tables([fit], manifest, np.arange(N))
    assert found.calibration["calibration"].tolist() == ["none"] and found.columns[0].keys() == {"ece", "brier"}


def test_numbers_have_neither(tmp_path):
    manifest = manifest_of(list(np.linspace(0, 1, 20)), "regression")
    fit = Fit(tmp_path, {}, pa.table({}))
    found = decision_tables([fit, fit], manifest, np.arange(20))
    assert not len(found.calibration) and not len(found.thresholds) and found.columns == ({}, {})


def test_a_thousand_classes_have_one_curve(tmp_path):
    rng = np.random.default_rng(0)
    labels = [f"class{number:04d}" for number in range(1000)]
    targets = np.arange(2000) % 1000
    manifest = manifest_of([labels[own] for own in targets])
    scores = rng.random((2000, 1000)) ** 8 + np.eye(1000)[targets]
    probabilities = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    one = Predictions(probabilities, targets, manifest.clips["id"].to_numpy(dtype=object), 1, 0, "m", "linear", "mean")
    about = {"dataset": "toy", "model": "m", "head": "linear", "pooling": "mean", "family": "frozen"}
    found = decision_tables([Fit(tmp_path, about, to_table([one], labels))], manifest, np.arange(2000))
    assert len(found.thresholds) == 1002
    assert found.threshold_entries[0].keys() >= {"micro"} and "classes" not in found.threshold_entries[0]


def test_more_probabilities_than_are_scored_are_left_out_and_this_is_said(tmp_path, monkeypatch):
    fit, manifest, test, _ = model(tmp_path / "m", "multi-label")
    n_probabilities = sum(one.probabilities.size for one in test)
    monkeypatch.setattr("pipeline.report.decisions.MOST_CELLS", n_probabilities)
    assert len(decision_tables([fit], manifest, np.arange(N)).thresholds)
    monkeypatch.setattr("pipeline.report.decisions.MOST_CELLS", n_probabilities - 1)
    found = decision_tables([fit], manifest, np.arange(N))
    assert not len(found.calibration) and not len(found.thresholds) and found.columns == ({},)
    (note,) = found.notes
    assert note == "calibration and thresholds are not computed: a model has more than 16,777,216 probabilities"


def test_predictions_without_all_probabilities_are_left_out_and_this_is_said(tmp_path):
    labels = [f"class{number:02d}" for number in range(20)]
    targets = np.arange(40) % 20
    manifest = manifest_of([labels[own] for own in targets])
    probabilities = np.full((40, 20), 0.05, np.float32)
    one = Predictions(probabilities, targets, manifest.clips["id"].to_numpy(dtype=object), 1, 0, "m", "linear", "mean")
    about = {"dataset": "toy", "model": "m", "head": "linear", "pooling": "mean", "family": "frozen"}
    whole, short = (Fit(tmp_path, about, to_table([one], labels, most_cells=cells)) for cells in (800, 799))
    assert len(decision_tables([whole], manifest, np.arange(40)).calibration) == 1
    found = decision_tables([short], manifest, np.arange(40))
    assert not len(found.calibration) and not len(found.thresholds) and found.columns == ({},)
    (note,) = found.notes
    assert note.startswith("calibration and thresholds are not computed: ") and "16 most probable" in note
    write_validation(tmp_path, [one], labels)
    (kept,) = read_validation(tmp_path, manifest)
    assert np.array_equal(kept.scores, probabilities)


def test_thresholds_decide_the_predictions_that_a_fit_returns(tmp_path):
    fit, manifest, test, decisions = model(tmp_path / "m", "multi-label", rule=Rule("min_recall", 0.9), seeds=1)
    for one, own in zip(fit.predictions(LABELS, "multi-label"), test, strict=True):
        thresholds = decisions[str(own.fold), 0, 0].point.thresholds
        assert np.array_equal(one.predicted, own.probabilities >= thresholds)
    study = study_of(manifest, {"m · linear": clips("multi-label", 3.0, N)[0][None]}, folder=tmp_path)
    plain = study.models[0].outcomes.predicted()
    folder = study.models[0].fit.folder
    folder.mkdir(parents=True)
    write_decisions(folder, {}, decisions)
    study = study_of(manifest, {"m · linear": clips("multi-label", 3.0, N)[0][None]}, folder=tmp_path)
    assert study.models[0].outcomes.predicted().sum() > plain.sum()


def test_files_agree_and_old_ones_are_removed(tmp_path):
    fit, manifest, _, _ = model(tmp_path / "m", "single-label", method="temperature", rule=Rule("min_recall", 0.9))
    tables = decision_tables([fit], manifest, np.arange(N))
    probabilities, _ = clips("single-label", 3.0, N)
    study = study_of(manifest, {"m · linear": probabilities[None]}, folder=tmp_path)
    write_tables(tmp_path / "report", [replace(study, decisions=tables)])
    entries = json.loads((tmp_path / "report" / "calibration.json").read_text())["toy"]
    written = pd.read_csv(tmp_path / "report" / "calibration.csv")
    for entry, row in zip(entries, written.to_dict("records"), strict=True):
        assert entry["ece"] == row["ece"] and entry["log_loss_ci_high"] == row["log_loss_ci_high"]
        assert len(entry["accuracy_by_coverage"]) == 20 and entry["reliability"][-1]["observed"][0] <= 1
    (curves,) = json.loads((tmp_path / "report" / "thresholds.json").read_text())["toy"]
    micro = pd.read_csv(tmp_path / "report" / "thresholds.csv").query("scope == 'micro'").iloc[0]
    recalls = [point["recall"][0] for point in curves["micro"]]
    assert recalls == sorted(recalls, reverse=True) and recalls[0] == 1
    assert min(recalls, key=lambda recall: abs(recall - micro["recall"])) == pytest.approx(micro["recall"], abs=0.05)
    write_tables(tmp_path / "report", [replace(study, decisions=DecisionTables())])
    assert not list((tmp_path / "report").glob("*thresholds*")) and not list((tmp_path / "report").glob("calibration*"))
