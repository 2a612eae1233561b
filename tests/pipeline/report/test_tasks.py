"""Every section also works for multi-label and regression data."""

import numpy as np
import pytest

from pipeline.report.render.page import render
from pipeline.report.section import build
from pipeline.report.sections import cost, data, layers, learning, provenance, published
from tests.pipeline.report.toy_studies import manifest_of, study_of

OURS = (cost.section, layers.section, learning.section, published.section, data.section, provenance.section)


@pytest.mark.parametrize(
    ("labels", "task", "metric"),
    [
        ([("a",) if row % 2 else ("a", "b") if row % 4 else ("b",) for row in range(40)], "multi-label", "mAP"),
        ([0.1 * row for row in range(40)], "regression", "CCC"),
    ],
)
def test_other_tasks_have_their_own_score(labels, task, metric, tmp_path):
    manifest = manifest_of(labels, task)
    width = 1 if task == "regression" else 2
    predicted = np.random.default_rng(0).random((2, 40, width))
    toy = study_of(manifest, {"a · linear": predicted, "b · mlp": predicted[:, ::-1]}, folder=tmp_path)
    sections = {section.key: section for section in build(toy, OURS)}
    assert set(sections) == {"cost", "data", "provenance"}
    assert sections["cost"].title == f"Cost against {metric}"
    assert sections["cost"].figures["seconds"].y.title == f"{metric} (95 % interval)"
    assert ("values" in sections["data"].figures) == (task == "regression")
    for section in sections.values():
        assert render(section, toy).html
