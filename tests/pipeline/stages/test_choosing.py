"""Choosing clips changes the run, not the cache; every command says what was chosen."""

import json

import pandas as pd
import pytest

from pipeline.cli.app import main
from tests.pipeline.small_corpora import tone


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for at, label in enumerate(("dog", "Dog", "cat", "owl")):
        for number in range(4):
            tone(tmp_path / "calls" / label / f"{number}.wav", 300 + 200 * (at // 2 * 2 + at % 2), 0.3, 8000, number)
    (tmp_path / "c.yaml").write_text(
        "dataset: {kind: folder, root: calls}\nfeatures: {backbones: [{name: mfcc}]}\nheads: [{name: linear}]\n"
        "protocol: holdout\n"
    )

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        assert end.value.code == 0, captured.err
        return captured.out + captured.err

    return run


SIMILAR = "calls: labels that differ only by case or blanks are separate classes: 'Dog' (4 clips) and 'dog' (4 clips)"


@pytest.mark.e2e
def test_embeddings_are_used_again_and_heads_are_not(run, tmp_path):
    first = run("run", "c.yaml")
    assert "16 computed, 0 reused" in first and SIMILAR in first
    again = run("run", "c.yaml")
    assert "0 computed, 16 reused" in again and "linear: reused" in again
    chosen = run("run", "c.yaml", "--set", "dataset.rename={dog: Dog}", "--set", "dataset.exclude=[owl]")
    assert "0 computed, 12 reused" in chosen and "linear: reused" not in chosen
    assert "calls: exclude owl: 2 of 3 classes and 12 of 16 clips kept" in chosen
    assert SIMILAR not in chosen
    manifest = pd.read_csv(tmp_path / "runs" / "c" / "manifest.csv")
    assert manifest["label"].value_counts().to_dict() == {"Dog": 8, "cat": 4}
    page = (tmp_path / "runs" / "c" / "report" / "index.html").read_text()
    assert "rename: dog → Dog (4 clips); exclude owl: 2 of 3 classes and 12 of 16 clips kept" in page
    assert json.loads((tmp_path / "runs" / "c" / "labels.json").read_text())


def test_index_and_audit_name_labels_that_look_the_same(run):
    assert f"warning: {SIMILAR}" in run("datasets", "index", "c.yaml")
    assert SIMILAR in run("datasets", "audit", "c.yaml")


@pytest.mark.e2e
def test_clips_of_an_absent_class_are_counted_in_the_answer_and_the_data(run, tmp_path):
    rows = [
        f"calls/{label}/{number}.wav,{label},{site}"
        for label, sites in {"dog": "abcd", "cat": "abcd", "owl": "aaaa"}.items()
        for number, site in enumerate(sites)
    ]
    (tmp_path / "t.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n")
    (tmp_path / "t.yaml").write_text(
        "dataset: {kind: csv, root: t.csv}\nfeatures: {backbones: [{name: mfcc}]}\nheads: [{name: linear}]\n"
        "protocol: leave-one-group-out\nabsent_classes: score\n"
    )
    printed = run("run", "t.yaml")
    sentence = "t: 4 of 12 test clips have a label without a training clip in their fold ('owl') and count as errors"
    assert sentence in printed
    text = " ".join(printed.split())
    assert (
        "4 of 12 test clips have a class without a training clip in their fold. They count as errors, so accuracy "
        "cannot exceed 0.667." in text
    )
    assert "4 test clips of classes without a training clip in their fold count as errors." in text
    report = tmp_path / "runs" / "t" / "report"
    table = pd.read_csv(report / "results.csv")
    assert set(table["n_absent"]) == {4}
    assert (table["accuracy"] <= 8 / 12).all()
    assert "4 test clips of a class without a training clip in the fold, counted as errors" in (
        (report / "index.html").read_text()
    )
    assert sentence in (report / "results.md").read_text()
