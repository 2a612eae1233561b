"""Published results: matching of models, and differences in protocol."""

import dataclasses

import numpy as np
import pytest

from features.errors import ConfigError
from pipeline.config.config import load_config
from pipeline.report.analysis.comparisons import compare_published, corpus_of, is_same_model, plain
from pipeline.report.analysis.published_rows import PublishedRow, read_published, shipped
from pipeline.report.render.page import render
from pipeline.report.sections import published
from tests.paths import ROOT
from tests.pipeline.report.toy_studies import manifest_of, study_of

HOSTILE = "<img src=x>"
OFFICIAL = {"training": "frozen", "head": "linear", "clips": 20, "folds": "official", "figure": "mean of folds"}


def row(model="wav2vec2-base", **more):
    given = {"dataset": "Toy", "model": model, "accuracy": 0.5, "protocol": OFFICIAL, "source": HOSTILE}
    return PublishedRow.model_validate(given | more)


def study(tmp_path, about=None, **settings):
    """Two heads of one backbone, right on all clips and on half of them."""
    manifest = manifest_of([f"c{row % 4 // 2}" for row in range(20)])
    truth = np.arange(20) % 4 // 2
    wrong = np.where(np.arange(20) < 4, 1 - truth, truth)
    probabilities = {"wav2vec2-base · mlp": np.eye(2)[truth][None], "wav2vec2-base · linear": np.eye(2)[wrong][None]}
    toy = study_of(manifest, probabilities, folder=tmp_path, about={title: about or {} for title in probabilities})
    sets = [f"{key}={value}" for key, value in settings.items()]
    return dataclasses.replace(toy, config=load_config(tmp_path / "toy.yaml", ["features.pooling=[mean]", *sets]))


def test_the_shipped_rows_are_those_of_their_sources():
    rows = read_published()
    assert shipped() == ROOT / "configs" / "published.yaml"
    found = {(one.dataset, one.model, one.source.partition(":")[0].partition(",")[0]): one.accuracy for one in rows}
    assert found == {
        ("esc50", "wav2vec2-base", "ARCH"): 0.457,
        ("esc50", "hubert-base", "ARCH"): 0.589,
        ("esc50", "wavlm-base", "ARCH"): 0.499,
        ("esc50", "yamnet", "HEAR"): 0.838,
        ("esc50", "panns-cnn14", "HEAR"): 0.909,
        ("esc50", "openl3", "HEAR"): 0.751,
        ("esc50", "passt", "HEAR"): 0.947,
        ("esc50", "wav2vec2-large-voxpopuli", "HEAR"): 0.561,
        ("esc50", "wav2vec2-base", "MAEB"): 0.469,
        ("esc50", "hubert-base", "MAEB"): 0.594,
        ("esc50", "vggish", "MAEB"): 0.612,
        ("esc50", "ast", "MAEB"): 0.962,
        ("fsdd", "wav2vec2-base", "MAEB"): 0.548,
        ("fsdd", "hubert-base", "MAEB"): 0.937,
        ("fsdd", "vggish", "MAEB"): 0.272,
        ("fsdd", "ast", "MAEB"): 0.643,
        ("gtzan", "resnet18", "SwanLab tutorial"): 0.715,
        ("gtzan", "resnext101", "SwanLab tutorial"): 0.875,
        ("esc50", "mfcc", "ESC-50 README"): 0.443,
        ("esc50", "human listeners", "ESC-50 README"): 0.813,
    }
    assert all(one.protocol.figure == "best validation accuracy" for one in rows if one.dataset == "gtzan")
    assert {one.protocol.folds for one in rows if one.source.startswith("MAEB") and one.dataset == "esc50"} == {
        "shuffled"
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {dataset: a, model: b, accuracy: 45.7, source: c}", r"\[0\]\.accuracy: .*45\.7"),
        ("- {dataset: a, model: b, acuracy: 0.4, source: c}", r"\[0\]\.acuracy: unknown key, did you mean 'accuracy'"),
        ("- {dataset: a, model: b, accuracy: 0.4, source: c, protocol: {folds: odd}}", r"\[0\]\.protocol\.folds"),
        ("dataset: a", "should be a list of rows"),
        ("- [", "line 1"),
    ],
)
def test_an_error_names_file_row_and_key(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"mine.yaml: .*{message}|mine.yaml: {message}"):
        read_published(path)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        read_published(tmp_path / "nowhere.yaml")


def test_the_nearest_protocol_is_chosen_not_the_best_score(tmp_path):
    toy = study(tmp_path)
    assert toy.models[0].title == "wav2vec2-base · mlp"
    (one,) = compare_published(toy, [row()])
    assert one.ours.title == "wav2vec2-base · linear" and one.differences == ()
    assert one.verdict.startswith("no stated difference")
    assert "not stated by the source: pooling" in one.verdict
    assert (one.mean_of_folds, one.pooled) == (pytest.approx(0.8), pytest.approx(0.8))


def test_every_difference_is_listed(tmp_path):
    theirs = {
        "training": "finetuned", "head": "random forest", "pooling": "max", "clips": 2000, "folds": "shuffled",
        "shots": 8, "figure": "best validation accuracy",
    }  # fmt: skip
    (one,) = compare_published(study(tmp_path), [row(protocol=theirs)])
    assert one.differences == (
        "model: finetuned there, frozen here",
        "head: random forest there, mlp here",
        "pooling: max there, mean here",
        "clips: 2,000 there, 20 here",
        "folds: shuffled there, official here",
        "training clips: 8 per class there, all here",
        "figure: best validation accuracy there, mean of folds here",
    )
    assert one.verdict.startswith("no: model: finetuned there")


def test_few_shot_is_compared_by_its_shots(tmp_path):
    toy = study(tmp_path, {"protocol": "few-shot"}, protocol="few-shot", **{"few_shot.shots": 4})
    theirs = OFFICIAL | {"shots": 8}
    assert (
        "training clips: 8 per class there, 4 per class here"
        in compare_published(toy, [row(protocol=theirs)])[0].differences
    )


def test_a_refit_is_listed(tmp_path):
    toy = study(tmp_path, {"protocol": "folds+refit"})
    assert any("trained again" in text for text in compare_published(toy, [row()])[0].differences)


def test_models_that_were_not_run_come_last(tmp_path):
    found = compare_published(study(tmp_path), [row("human listeners"), row(), row("x", dataset="other")])
    assert [one.row.model for one in found] == ["wav2vec2-base", "human listeners"]
    assert found[1].ours is None and found[1].verdict == "not run here"


@pytest.mark.parametrize(
    ("weights", "label", "same"),
    [
        ("pretrained:facebook/wav2vec2-base", "anything", True),
        ("pretrained:facebook/wav2vec2-base@main", "anything", True),
        ("pretrained:facebook/wav2vec2-base-960h", "wav2vec2-base", False),  # the hub id decides
        ("pretrained:wav2vec2-base", "local", True),  # a folder of that name
        ("untrained", "wav2vec2-base", False),
        ("pretrained:weights.pth", "Wav2Vec2_Base", True),
    ],
)
def test_models_are_matched_by_hub_id_or_name(tmp_path, weights, label, same):
    model = study(tmp_path).models[0]
    ours = dataclasses.replace(model, row={**model.row, "weights": weights, "model": label})
    assert is_same_model(row(aliases=["facebook/wav2vec2-base"]), ours) is same


@pytest.mark.parametrize(
    ("dataset", "corpus"),
    [
        ("{kind: esc50, root: x}", "esc50"),
        ("{kind: esc50, subset: esc10, root: x}", "esc10"),
        ("{kind: esc50, subset: esc10, name: esc50, root: x}", "esc10"),
        ("{kind: fsdd, name: digits, root: x}", "fsdd"),
        ("{kind: folder, name: ESC-50, root: x}", "toy"),
    ],
)
def test_esc10_is_not_esc50_whatever_its_name(tmp_path, dataset, corpus):
    toy = study(tmp_path)
    path = tmp_path / "other.yaml"
    path.write_text(f"dataset: {dataset}\n")
    assert corpus_of(dataclasses.replace(toy, config=load_config(path))) == corpus
    assert plain("ESC-50") == "esc50"


def test_the_section_shows_both_numbers_and_escapes_the_source(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"- {{dataset: toy, model: wav2vec2-base, accuracy: 0.457, source: '{HOSTILE}', protocol: {{head: linear}}}}"
    )
    toy = study(tmp_path, **{"report.published": file})
    html = str(render(published.section(toy), toy).html)
    assert "0.457" in html and "0.800 (" in html and HOSTILE not in html and "&lt;img" in html
    assert "<strong>" not in html and "were not run" not in html
    file.write_text(f"- {{dataset: toy, model: '{HOSTILE}', accuracy: 0.9, source: s}}")
    html = str(render(published.section(toy), toy).html)
    assert "not run here (1)" in html and HOSTILE not in html


def test_a_corpus_without_published_results_has_no_section(tmp_path):
    assert published.section(study(tmp_path)) is None
