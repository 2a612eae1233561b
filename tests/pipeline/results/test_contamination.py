"""The column `contamination`: which corpus is tested, what the weights of a row have seen, and what people read."""

from dataclasses import replace

import pandas as pd
import pytest

from features.backbones import preset_options
from features.backbones.presets.corpora import CORPORA
from pipeline.config.config import load_config
from pipeline.report.analysis.caveats import caveats
from pipeline.report.sentence import text_of
from pipeline.results.contamination import backbones_of, corpus_of, exposure_of
from pipeline.results.leaderboard.tables import joined
from pipeline.results.result_files import read_results
from pipeline.results.table import headings, legend, markdown, shown_rows, table_of
from tests.pipeline.report.toy_studies import random_study

CLAP = f"pretrained:{preset_options('clap')['weights']}"


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("{kind: esc50, root: .}", "ESC-50"),
        ("{kind: esc50, subset: esc10, root: .}", "ESC-10"),
        ("{kind: esc50, name: mine, root: .}", "ESC-50"),
        ("{kind: folder, name: fsd50k, root: .}", "FSD50K"),
        ("{kind: folder, name: my-sounds, root: .}", None),
        ("{kind: speech_commands, root: .}", "Speech Commands"),
    ],
)
def test_the_tested_corpus_is_found_in_the_config(dataset, name, tmp_path):
    (tmp_path / "exp.yaml").write_text(f"dataset: {dataset}\nfeatures: {{backbones: [{{name: clap, label: c}}]}}\n")
    config = load_config(tmp_path / "exp.yaml")
    corpus = corpus_of(config)
    assert (corpus and corpus.name) == name
    assert backbones_of(config) == {"c": "clap"}


@pytest.mark.parametrize(
    ("weights", "backbone", "mark"),
    [
        (CLAP, "clap", "saw its source"),
        ("pretrained:laion/clap-htsat-unfused", "transformers", "saw its source"),
        ("pretrained:yamnet.tflite", "yamnet", "none known"),
        ("pretrained:my-folder", "wav2vec2-base", "unknown"),
        ("untrained", "clap", None),
        ("none", "mfcc", None),
    ],
)
def test_weights_are_judged_by_what_they_are(weights, backbone, mark):
    found = exposure_of({"weights": weights}, backbone, CORPORA["ESC-50"])
    assert (found and found.mark) == mark


@pytest.fixture
def study(tmp_path):
    """CLAP, an own model and MFCC."""
    about = {
        "backbone0 · linear": {"weights": CLAP},
        "backbone0 · mlp": {"weights": "pretrained:mine"},
        "backbone1 · linear": {"weights": "none"},
    }
    study = random_study(60, 3, 3, folder=tmp_path, about=about, corpus=CORPORA["UrbanSound8K"])
    (tmp_path / "us8k.yaml").write_text(f"dataset: {{kind: urbansound8k, root: {tmp_path}}}\nname: toy\n")
    return replace(study, config=load_config(tmp_path / "us8k.yaml"))


def test_marked_rows_are_shown_with_the_reason(study, tmp_path):
    table = study.table
    marks = {(row["model"], row["head"]): row["contamination"] for row in table.fillna("").to_dict("records")}
    assert marks == {
        ("backbone0", "linear"): "saw its source",
        ("backbone0", "mlp"): "unknown",
        ("backbone1", "linear"): "",
    }
    assert list(headings(table))[-1] == "contamination"
    shown = {row[0] + row[4]: (row[1], row[-1]) for row in shown_rows(table)}
    assert shown["backbone0linear"] == ("pretrained:laion/clap-htsat-unfused@8fa0f1c", "saw its source")
    assert (shown["backbone0mlp"][1], shown["backbone1linear"][1]) == ("unknown", "–")
    assert "saw: the weights were trained on this corpus" in legend(table)
    assert "| contamination |" in markdown(table, {}, [])
    sentences = [text_of(sentence) for sentence in caveats(study)]
    assert sentences[0] == (
        "Scores of backbone0 may be too high, because it saw its source. Trained on LAION-Audio-630K, whose clips come "
        "from Freesound, as UrbanSound8K's do."
    )
    table.to_csv(tmp_path / "results.csv", index=False)
    read, _ = joined([read_results(tmp_path / "results.csv", "toy")])
    assert sorted(read["contamination"]) == ["", "saw its source", "unknown"]


def test_without_a_mark_the_printed_table_is_as_before(tmp_path):
    study = random_study(60, 3, 2, folder=tmp_path, about={"backbone0 · linear": {"weights": "pretrained:mine"}})
    assert "contamination" not in headings(study.table)
    assert "saw:" not in legend(study.table)
    assert not any("may be too high, because it saw" in text_of(sentence) for sentence in caveats(study))
    older = table_of([{key: row[key] for key in row if key != "contamination"} for row in _rows(study)])
    assert "contamination" not in older and list(headings(older)) == list(headings(study.table))


def _rows(study):
    return pd.DataFrame(study.table).to_dict("records")
