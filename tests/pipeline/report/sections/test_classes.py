"""The section of classes has the numbers of results.json and of the stored predictions."""

import json

import numpy as np
import pytest

from heads.splits.targets import targets_of
from pipeline.report.render.embedded import json_text
from pipeline.report.render.page import render
from pipeline.report.sections import classes
from tests.pipeline.report.toy_studies import manifest_of, random_study, study_of

HOSTILE = '<script>alert("1")</script>'


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return random_study(60, 4, 3, folder=tmp_path_factory.mktemp("toy"))


def test_the_table_has_the_numbers_of_results_json(study):
    context = classes.section(study).context
    assert context["models"] == [model.title for model in study.models]
    labels = study.manifest.labels
    for row in context["rows"]:
        assert row["label"] == labels[row["number"]] and row["clips"] == 15
        for model, cell in zip(study.models, row["cells"], strict=True):
            value = model.details["class_accuracy"][row["label"]]
            low, high = model.details["class_accuracy_ci"][row["label"]]
            assert cell["text"] == f"{value:.2f}"
            assert cell["note"] == f"{row['label']}: accuracy {value:.3f}, 95 % interval {low:.2f} to {high:.2f}"
    means = [
        np.mean([model.details["class_accuracy"][row["label"]] for model in study.models]) for row in context["rows"]
    ]
    assert means == sorted(means)


def test_the_matrix_agrees_with_the_class_accuracies(study):
    section = classes.section(study)
    data = json.loads(json_text(section.data))
    for model, own in zip(study.models, data["models"], strict=True):
        counts = np.zeros((4, 4))
        for row, column, count, clips in own["cells"]:
            counts[row, column] = count
            assert clips and all(clip % 4 == row for clip in clips) and len(clips) >= count - 1e-9
        accuracies = [model.details["class_accuracy"][label] for label in study.manifest.labels]
        assert np.diag(counts) / data["totals"] == pytest.approx(accuracies, abs=1e-3)
        assert counts.sum() == pytest.approx(60, abs=0.01)
        for order in own["orders"].values():
            assert sorted(order) == [0, 1, 2, 3]


def test_controls_do_not_decide_what_is_hard(tmp_path):
    manifest = manifest_of(["a", "b"] * 10)
    right, wrong = np.eye(2)[[0, 1] * 10], np.eye(2)[[1, 1] * 10]
    predicted = {
        "good · linear": 0.9 * np.eye(2)[[0, 0] * 10] + 0.05,
        "random · linear": wrong,
        "other · linear": right,
    }
    about = {"random · linear": {"weights": "untrained"}}
    study = study_of(manifest, {k: v[None] for k, v in predicted.items()}, folder=tmp_path, about=about)
    assert [row["label"] for row in classes.section(study).context["rows"]] == ["b", "a"]
    assert classes.section(study).context["controls"] == ["random · linear"]


@pytest.mark.parametrize("task", ["single-label", "multi-label", "regression"])
def test_names_stay_text_in_every_task(tmp_path, task):
    labels = {
        "single-label": [HOSTILE, "b", "c"] * 10,
        "multi-label": [[HOSTILE, "b"], ["b"], ["c", HOSTILE]] * 10,
        "regression": (np.arange(30) / 7).tolist(),
    }[task]
    manifest = manifest_of(labels, task)
    targets = targets_of(manifest)
    truth = targets.values[:, None] if task == "regression" else targets.members
    predicted = 0.7 * truth + 0.1 * np.random.default_rng(0).random((2, *truth.shape))
    if task == "single-label":
        predicted /= predicted.sum(axis=2, keepdims=True)
    study = study_of(manifest, {f"{HOSTILE.replace('/', '')} · linear": predicted}, folder=tmp_path)
    section = classes.section(study)
    html = str(render(section, study).html)
    assert "<script>alert" not in html and "&lt;script&gt;" in html
    assert all(figure.alt for figure in section.figures.values())
    assert section.title == ("Values" if task == "regression" else "Classes")


def test_a_class_without_test_clips_leaves_no_row(tmp_path):
    manifest = manifest_of(["a", "b", "c"] * 6)
    kept = manifest.clips["label"] != "c"
    predicted = np.tile([0.6, 0.3, 0.1], (1, len(manifest), 1))
    study = study_of(manifest, {"m · linear": predicted}, folder=tmp_path, tested=kept.to_numpy())
    section = classes.section(study)
    assert [row["label"] for row in section.context["rows"]] == ["b", "a"]
    assert list(section.data["totals"]) == [6, 6, 0]
