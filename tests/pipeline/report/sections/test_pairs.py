"""The matrix of pairs of models."""

import numpy as np
import pytest

from pipeline.report.sections.results import pairs
from tests.pipeline.report.toy_studies import manifest_of, random_study, study_of


def test_each_pair_is_in_the_matrix_twice_with_opposite_signs(tmp_path):
    context = pairs.section(random_study(200, 4, 4, folder=tmp_path)).context
    cells = context["cells"]
    assert len(cells) == 4 and all(line[at] is None for at, line in enumerate(cells))
    opposite = {"better": "worse", "worse": "better", "tied": "tied"}
    for row in range(4):
        for column in range(row):
            one, other = cells[row][column], cells[column][row]
            assert float(one.difference) == -float(other.difference)
            assert one.p_value == other.p_value and one.outcome == opposite[other.outcome]
            low, high = map(float, one.interval.split(" to "))
            assert low <= float(one.difference) <= high
    assert cells[0][3].outcome == "better"


def test_only_the_best_models_and_the_majority_row_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "MOST_MODELS", 3)
    context = pairs.section(random_study(100, 4, 6, folder=tmp_path, majority=True)).context
    models = context["models"]
    assert len(models) == 3 and models[-1].is_baseline and context["n_left_out"] == 4


def test_one_model_has_no_pairs(tmp_path):
    assert pairs.section(random_study(40, 4, 1, folder=tmp_path)) is None


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_other_scores_are_compared_too(tmp_path, task):
    rng = np.random.default_rng(0)
    labels = [("a",) if row % 2 else ("a", "b") for row in range(40)] if task == "multi-label" else rng.normal(size=40)
    width = 2 if task == "multi-label" else 1
    made = {name: rng.uniform(size=(1, 40, width)) for name in ("a · linear", "b · linear")}
    study = study_of(manifest_of(list(labels), task), made, folder=tmp_path)
    cell = pairs.section(study).context["cells"][0][1]
    best, other = (model.row["value"] for model in study.models)
    assert cell.difference == f"{best - other:+.3f}"
