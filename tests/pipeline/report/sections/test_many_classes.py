"""Experiments with many classes or clips: the page holds a part of their errors and clips, and says so."""

import json

import numpy as np
import pytest

from pipeline.report.analysis import samples
from pipeline.report.analysis.class_blocks import class_blocks
from pipeline.report.render.embedded import json_text
from pipeline.report.render.page import render
from pipeline.report.section import clips_of
from pipeline.report.sections import classes, many_classes
from tests.pipeline.report.toy_studies import manifest_of, random_study, study_of

N_CLASSES = 120


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return random_study(600, N_CLASSES, 3, folder=tmp_path_factory.mktemp("many"))


def matrix(model):
    """Counts of the stored predictions, mean over seeds."""
    counts = np.zeros((N_CLASSES, N_CLASSES))
    for predicted in model.outcomes.predicted():
        np.add.at(counts, (model.outcomes.targets(), predicted), 1 / model.outcomes.n_repetitions)
    return counts


def test_errors_are_listed_most_frequent_first(study):
    data = json.loads(json_text(classes.section(study).data))
    for model, own in zip(study.learned, data["models"], strict=True):
        counts = matrix(model)
        found = [count for _, _, count, _ in own["cells"]]
        assert found == sorted(found, reverse=True) and own["n_errors"] == len(found)
        assert sum(found) == pytest.approx(counts.sum() - np.trace(counts), abs=0.5)
        for row, column, count, clips in own["cells"][:50]:
            assert count == pytest.approx(counts[row, column], abs=1e-3) and row != column
            assert clips and all(model.outcomes.targets()[clips] == row)


def test_blocks_add_up_to_the_matrix(study):
    data = classes.section(study).data
    for model, own in zip(study.learned, data["models"], strict=True):
        assert sorted(number for block in own["blocks"] for number in block) == list(range(N_CLASSES))
        counts = matrix(model)
        for row, column, share in own["shares"][::37]:
            inside = counts[np.ix_(own["blocks"][row], own["blocks"][column])].sum()
            assert share == pytest.approx(inside / counts[own["blocks"][row]].sum(), abs=1e-4)
    diagonal = np.diag(class_blocks(study.learned[0].confusions).shares)
    by_name = matrix(study.learned[0])
    in_order = [by_name[at : at + 3, at : at + 3].sum() / by_name[at : at + 3].sum() for at in range(0, N_CLASSES, 3)]
    assert diagonal.mean() >= np.mean(in_order)  # confused classes are together


def test_the_scores_are_those_of_results_json(study):
    section = classes.section(study)
    assert section.context["fields"] == ["accuracy (recall)", "precision", "F1"]
    labels = study.manifest.labels
    for model, own in zip(study.learned, section.data["models"], strict=True):
        for number, values in list(zip(section.data["order"], own["values"], strict=True))[::17]:
            stored = model.details["classes"][labels[number]]
            expected = [
                model.details["class_accuracy"][labels[number]],
                *(stored[name] for name in ("precision", "f1")),
            ]
            plain = [one[0] if isinstance(one, tuple) else one for one in expected]
            assert values == [None if one is None else pytest.approx(one, abs=5e-4) for one in plain]


def test_what_is_left_out_is_said(study, monkeypatch):
    monkeypatch.setattr(many_classes, "MOST_ERRORS", 60)
    monkeypatch.setattr(many_classes, "MOST_VALUES", 90)
    section = classes.section(study)
    assert [len(own["cells"]) for own in section.data["models"]] == [20, 20, 20]
    html = str(render(section, study).html)
    assert "The page holds the 20 most frequent errors of each model" in html
    assert "The page holds the hardest 10 of 120 classes" in html


def test_clips_are_those_of_the_most_frequent_errors(study, monkeypatch):
    monkeypatch.setattr(samples, "MOST_LISTED", 300)
    section = classes.section(study)
    for own in section.data["models"]:
        listed = [len(cell[3]) for cell in own["cells"]]
        assert 30 < sum(listed) <= 50 and listed[0] > 0 and listed[-1] == 0
    assert 0 < len(clips_of([section])) <= 150


def test_several_labels_have_no_blocks(tmp_path):
    labels = [[f"label {row % 110:03d}", f"label {(row + 7) % 110:03d}"] for row in range(220)]
    manifest = manifest_of(labels, "multi-label")
    rng = np.random.default_rng(0)
    study = study_of(manifest, {"m · linear": rng.random((1, 220, 110))}, folder=tmp_path)
    section = classes.section(study)
    assert section.data["columns"] == ("found", "missed", "false alarm") and "blocks" not in section.data["models"][0]
    assert "of blocks" not in str(render(section, study).html)
    assert {cell[1] for cell in section.data["models"][0]["cells"]} == {1, 2}


def test_cells_of_few_classes_list_fewer_clips_if_there_are_many(tmp_path, monkeypatch):
    study = random_study(600, 4, 2, folder=tmp_path)
    assert samples.clips_per_cell(study, [model.confusions for model in study.learned]) is None
    monkeypatch.setattr(samples, "MOST_POINTS", 100)
    monkeypatch.setattr(samples, "MOST_LISTED", 200)
    section = classes.section(study)
    most = section.context["most_clips"]
    cells = [cell for own in section.data["models"] for cell in own["cells"]]
    assert 1 < most == max(len(cell[3]) for cell in cells) and 50 < sum(len(cell[3]) for cell in cells) <= 100
    assert f"at most {most} per cell" in str(render(section, study).html)


def test_samples_are_smaller_if_the_page_would_become_too_large(study, monkeypatch):
    assert samples.sampled_clips(study).tolist() == list(range(600))
    monkeypatch.setattr(samples, "MOST_VALUES", 100 * (12 + 3 * 9))
    assert len(samples.sampled_clips(study)) == samples.listed_clips(study) == 100
