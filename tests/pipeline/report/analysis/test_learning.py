"""Label efficiency and learning curves."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from pipeline.report.analysis.learning import curve_of, learning_of, read_training_progress
from pipeline.report.render.page import render
from pipeline.report.sections import learning
from tests.pipeline.report.toy_studies import manifest_of, study_of

HOSTILE = "<b>net</b>"


def study(tmp_path, **about):
    manifest = manifest_of([f"c{row % 2}" for row in range(20)])
    predicted = np.eye(2)[np.arange(20) % 2][None]
    return study_of(manifest, {f"{HOSTILE} · none": predicted}, folder=tmp_path, about={f"{HOSTILE} · none": about})


def write_fit(folder, name, losses, best):
    folder.mkdir(parents=True, exist_ok=True)
    curves = [{"train/loss": 2 * loss, "valid/loss": loss, "valid/accuracy": 1 - loss} for loss in losses]
    progress = {"epochs": len(losses), "best_epoch": best, "best_loss": min(losses), "seconds": 1.0, "curves": curves}
    (folder / f"{name}.json").write_text(json.dumps({"course": progress, "probabilities": []}))


def test_an_epochs_mean_is_over_the_fits_that_came_so_far():
    curve = curve_of([[{"a": 1.0}, {"a": 3.0}], [{"a": 2.0}], [{"a": float("nan")}, {"b": 1.0}]], "a")
    assert (curve.epochs, curve.mean, curve.low, curve.high) == ([1, 2], [1.5, 3.0], [1.0, 3.0], [2.0, 3.0])
    assert curve_of([], "a").epochs == []


def test_unreadable_files_are_left_out(tmp_path):
    write_fit(tmp_path, "fold-1-seed-0", [0.5], 0)
    (tmp_path / "fold-2-seed-0.json").write_text("{")
    (tmp_path / "fold-3-seed-0.json").write_text('{"course": 3}')
    (tmp_path / "fit.json").write_text("{}")
    assert len(read_training_progress(tmp_path)) == 1


def test_curves_of_a_trained_model(tmp_path):
    toy = study(tmp_path, recipe={"epochs": 3}, family="scratch", weights="none")
    folder = toy.models[0].fit.folder
    write_fit(folder, "fold-1-seed-0", [0.9, 0.5, 0.6], 1)
    write_fit(folder, "fold-2-seed-0", [0.7, 0.3], 1)
    (one,) = learning_of(toy)
    assert (one.n_fits, one.best_epochs) == (2, [2, 2])
    assert one.curves["valid/loss"].mean == pytest.approx([0.8, 0.4, 0.6])
    section = learning.section(toy)
    assert section.title == "Learning curves"
    names = list(section.figures)
    assert names[1] == "validation-accuracy" and names[0].startswith("loss-") and "<" not in names[0]
    assert [series.name for series in section.figures[names[0]].series] == ["training", "validation"]
    html = str(render(section, toy).html)
    assert HOSTILE not in html and "2 fits; kept epoch 2." in html


def test_a_frozen_model_has_no_learning_curve(tmp_path):
    assert learning.section(study(tmp_path)) is None


def test_scores_over_training_clips_with_all_at_its_mean(tmp_path):
    rows = [
        {"dataset": "d", "model": HOSTILE, "pooling": "mean", "head": "linear", "protocol": "few-shot", "shots": shots,
         "n_train": n_train, "draws": draws, "accuracy": score, "accuracy_ci_low": score - 0.1,
         "accuracy_ci_high": score + 0.1}
        for shots, n_train, draws, score in (("all", 24.0, 1, 0.9), (1, 2.0, 5, 0.4), (5, 10.0, 5, 0.7))
    ]  # fmt: skip
    toy = dataclasses.replace(study(tmp_path), curve=pd.DataFrame(rows))
    section = learning.section(toy)
    assert section.title == "Label efficiency"
    (series,) = section.figures["label-efficiency"].series
    assert (list(series.x), list(series.y)) == ([1, 5, 12], [0.4, 0.7, 0.9])
    assert series.y_low == pytest.approx([0.3, 0.6, 0.8]) and "about 12" in series.notes[2]
    html = str(render(section, toy).html)
    assert HOSTILE not in html and "clips per class" in html
