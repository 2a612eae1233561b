"""The section of hard clips lists the right clips and explains the lists."""

import numpy as np
import pytest

from heads.splits.targets import targets_of
from pipeline.report.render.page import render
from pipeline.report.sections import hard_clips
from tests.pipeline.report.toy_studies import manifest_of, random_study, study_of


def html_of(study):
    return " ".join(str(render(hard_clips.section(study), study).html).split())


def test_lists_name_clips_by_their_position_in_the_page(tmp_path):
    study = random_study(60, 4, 3, folder=tmp_path)
    context = hard_clips.section(study).context
    ids, labels = (study.manifest.clips[name].tolist() for name in ("id", "label"))
    listings = [context["hardest"], context["missed"], *context["of_models"]]
    for clip, cells in (row for listing in listings for row in listing.rows):
        assert cells[:2] == (ids[clip], labels[clip])
    probabilities = [float(cells[2]) for _, cells in context["hardest"].rows]
    assert probabilities == sorted(probabilities) and len(probabilities) == hard_clips.LISTED
    for model, listing in zip(study.models, context["of_models"], strict=True):
        for clip, (_, truth, predicted, _) in listing.rows:
            assert predicted != truth
            assert (model.outcomes.predicted()[:, clip] != model.outcomes.targets()[clip]).any()


def test_controls_and_a_single_model(tmp_path):
    manifest = manifest_of(["a", "b"] * 5)
    right = np.eye(2)[[0, 1] * 5] * 0.8 + 0.1
    right[3] = [0.9, 0.1]
    predicted = {"good · linear": right[None], "random · linear": 1 - right[None]}
    study = study_of(manifest, predicted, folder=tmp_path, about={"random · linear": {"weights": "untrained"}})
    context = hard_clips.section(study).context
    assert context["all_missed"] == [3] and context["n_models"] == 1 and context["without_controls"]
    text = html_of(study)
    assert (
        "1 of 10 test clips is classified wrongly by the model, in every repetition (without untrained controls)."
        in text
    )
    assert context["hardest"].rows[0] == (3, ("clip0003.wav", "b", "0.100", "a (1 of 1)"))


def test_nothing_is_missed_by_a_perfect_model(tmp_path):
    manifest = manifest_of(["a", "b"] * 5)
    study = study_of(manifest, {"good · linear": np.eye(2)[[0, 1] * 5][None]}, folder=tmp_path)
    text = html_of(study)
    assert (
        "None: each of the 10 test clips is classified correctly" in text
        and "every test clip is predicted correctly by the mean probabilities over repetitions" in text
    )


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_other_tasks(tmp_path, task):
    labels = [["a", "<b>"], ["<b>"], []] * 5 if task == "multi-label" else (np.arange(15) / 7).tolist()
    manifest = manifest_of(labels, task)
    targets = targets_of(manifest)
    truth = targets.values[:, None] if task == "regression" else targets.members
    predicted = truth + 1.5 * np.random.default_rng(0).normal(size=(1, *truth.shape))
    predicted = predicted if task == "regression" else np.clip(predicted, 0, 1)
    study = study_of(manifest, {"m · linear": predicted}, folder=tmp_path)
    text = html_of(study)
    assert "<b>" not in text.replace("<bdi>", "")
    assert ("Largest errors" in text) == (task == "regression")
    assert ("Missed by all models" in text) == (task == "multi-label")
    if task == "multi-label":
        assert "&lt;b&gt;" in text and "not " in text
