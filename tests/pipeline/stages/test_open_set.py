"""`open_set`: what it refuses, and an experiment whose page, table and files show the same numbers."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from features.errors import ConfigError
from features.records import Records
from features.store.content_keys import ClipContent
from heads.splits.protocol import Splits
from heads.splits.split import Split
from heads.splits.targets import targets_of
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.report.run import run_report
from pipeline.report.sections.decisions import unknown_sounds
from pipeline.report.study import gather
from pipeline.stages.context import Stage2
from pipeline.stages.features import run_features
from pipeline.stages.inputs import Inputs
from pipeline.stages.open_set import tasks
from pipeline.stages.open_set.tasks import check_open_set, read_open_set
from pipeline.stages.train_heads import run_heads
from tests.pipeline.report.toy_studies import manifest_of
from tests.pipeline.small_corpora import tone
from tests.pipeline.stages.test_background import RATE, WINDOW_S, experiment, recording, sounds

CONFIG = """
name: unknown
dataset:
  {{kind: synthetic, root: {root}/audio, clips_per_class: 10, max_duration_s: 0.5, classes: [siren, warble, crackle]}}
features: {{pooling: [mean, std], backbones: [{{name: mfcc}}]}}
heads: [{{name: linear, l2: [0.1, 0.01]}}, {{name: knn, k: [1, 3]}}]
seeds: [0, 1]
output: {{cache: {root}/cache, runs: {root}/runs}}
"""
FORM = "{:.3f} ({:.3f}–{:.3f})"


def stage(tmp_path, labels, task="single-label", **kwargs):
    """Stage 2 of clips with given labels, every fifth one in turn tested, validated and trained."""
    (tmp_path / "c.yaml").write_text(CONFIG.format(root=tmp_path) + "open_set: true\n")
    config = load_config(tmp_path / "c.yaml")
    manifest = manifest_of(labels, task)
    fold = manifest.clips["fold"].to_numpy()
    given = {"train": np.flatnonzero(fold > 2), "valid": np.flatnonzero(fold == 2), "test": np.flatnonzero(fold == 1)}
    splits = Splits("folds", (Split(1, **{**given, **kwargs}),), ())
    inputs = Inputs({}, Records.of(ClipContent, []), {})
    return Stage2(config, manifest, inputs, targets_of(manifest), splits, "cpu", Console())


def test_what_cannot_be_left_out_is_refused_in_one_line(tmp_path, monkeypatch):
    three = ["a", "b", "c"] * 20
    check_open_set(stage(tmp_path, three))
    cases = [
        (
            stage(tmp_path, ["a", "b"] * 20),
            r"open_set: toy has 2 classes, and a head without one .* needs two; remove it",
        ),
        (
            stage(tmp_path, [["a"], ["b", "c"]] * 20, "multi-label"),
            "needs one class per clip, and clips can have several",
        ),
        (
            stage(tmp_path, list(np.linspace(0, 1, 40)), "regression"),
            "needs one class per clip, and the labels are num",
        ),
        (stage(tmp_path, three, train=np.array([0, 1, 3])), r"have 2 classes when fold 1 is tested, and 3 are needed"),
        (stage(tmp_path, three, valid=np.array([1, 4])), "validation clips have the class 'b' when fold 1 is tested"),
    ]
    for one, message in cases:
        with pytest.raises(ConfigError, match=message) as error:
            check_open_set(one)
        assert "\n" not in str(error.value)
        check_open_set(replace(one, config=one.config.model_copy(update={"open_set": False})))
    monkeypatch.setattr(tasks, "MOST_SCORES", 3 * 2 * 12 - 1)
    with pytest.raises(ConfigError, match="3 classes and the test clips of toy give 72 scores per model, more than 71"):
        check_open_set(stage(tmp_path, three))


def embed(config):
    run_features(config, device="cpu", limit=None, dry_run=False, strict=False, rehash=False, console=Console())


def train(config):
    run_heads(config, device="cpu", dry_run=False, strict=False, console=Console())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An experiment trained and reported without `open_set`, then with it; the files before."""
    root = tmp_path_factory.mktemp("unknown")
    (root / "unknown.yaml").write_text(CONFIG.format(root=root))
    plain, config = (load_config(root / "unknown.yaml", [f"open_set={own}"]) for own in ("false", "true"))
    embed(plain)
    before = {}
    for one in (plain, config):
        train(one)
        run_report(one, console=Console())
        before = before or {
            "results": pd.read_csv(plain.run_dir / "report" / "results.csv"),
            "files": {path: path.read_bytes() for path in plain.run_dir.glob("models/**/*.*")},
            "names": {path.name for path in (plain.run_dir / "report").iterdir()},
        }
    return config, before


@pytest.mark.e2e
def test_nothing_else_changes(run):
    config, before = run
    assert {path: path.read_bytes() for path in before["files"]} == before["files"] and len(before["files"]) > 8
    after = pd.read_csv(config.run_dir / "report" / "results.csv")
    assert [name for name in after if name not in before["results"]] == ["unknown_auroc", "unknown_auroc_energy"]
    pd.testing.assert_frame_equal(after[list(before["results"])], before["results"])
    assert "open_set.csv" not in before["names"]


@pytest.mark.e2e
def test_the_areas_are_those_of_the_stored_scores(run):
    config, _ = run
    written = pd.read_csv(config.run_dir / "report" / "open_set.csv", keep_default_na=False, na_values=[""])
    labels = pd.read_csv(config.run_dir / "manifest.csv").set_index("id")["label"]
    for fit in read_open_set(config):
        scores = fit.table().to_pandas()
        assert len(scores) == 3 * 2 * 30 and set(scores["held_out"]) == {"siren", "warble", "crackle"}
        rows = written[written["head"] == fit.about["head"]]
        areas = {name: [] for name in ("max_probability", "energy")}
        for label, own in scores.groupby("held_out"):
            (row,) = rows[rows["class"] == label].to_dict("records")
            assert row["support"] == 10
            for name, found in areas.items():
                if own[name].isna().all():
                    assert fit.about["head"] == "knn" and name == "energy" and np.isnan(row["auroc_energy"])
                    continue
                each = [roc_auc_score(labels[part["id"]] != label, part[name]) for _, part in own.groupby("seed")]
                assert row[f"auroc_{name}"] == pytest.approx(np.mean(each))
                found.append(np.mean(each))
        (mean,) = rows[rows["scope"] == "mean"].to_dict("records")
        assert mean["auroc_max_probability"] == pytest.approx(np.mean(areas["max_probability"]))


@pytest.mark.e2e
def test_page_table_and_files_agree(run):
    config, _ = run
    folder = config.run_dir / "report"
    written = pd.read_csv(folder / "open_set.csv", keep_default_na=False, na_values=[""])
    stored = json.loads((folder / "open_set.json").read_text())["unknown"]
    pd.testing.assert_frame_equal(pd.DataFrame(stored).replace({"": np.nan}), written, check_dtype=False)
    results = pd.read_csv(folder / "results.csv").query("model == 'mfcc'")
    entries = json.loads((folder / "results.json").read_text())["rows"]
    page = (folder / "index.html").read_text()
    for row in written.query("scope == 'mean'").to_dict("records"):
        (own,) = results[results["head"] == row["head"]].to_dict("records")
        (entry,) = [one for one in entries if one["head"] == row["head"]]
        assert own["unknown_auroc"] == entry["unknown_auroc"] == pytest.approx(row["auroc_max_probability"])
        assert f"{own['unknown_auroc']:.3f}" in (folder / "results.md").read_text()
    for row in written.to_dict("records"):
        ends = ("", "_ci_low", "_ci_high")
        assert FORM.format(*(row[f"auroc_max_probability{end}"] for end in ends)) in page
    section = unknown_sounds.section(gather(config))
    assert [title for title, _ in section.context["means"]] == [f"mfcc · {head}" for head in results["head"]]


@pytest.mark.e2e
def test_a_second_run_trains_nothing_again(run, capsys):
    config, _ = run
    before = {path: path.stat().st_mtime_ns for path in config.run_dir.rglob("fit.json")}
    train(config)
    assert {path: path.stat().st_mtime_ns for path in config.run_dir.rglob("fit.json")} == before
    assert capsys.readouterr().out.count("open-set unknown mfcc") + len(before) >= 4


@pytest.mark.e2e
def test_an_interrupted_job_keeps_the_classes_that_it_has_finished(run, tmp_path, monkeypatch):
    finished, _ = run
    config = load_config(finished.output.runs.parent / "unknown.yaml", ["open_set=true", f"output.runs={tmp_path}"])
    embed(config)
    right, seen = tasks._without, []

    def without(stage, label, head, poolings, held_out, *given):
        if head.name == "linear" and held_out == 2 and len(seen) == 2:
            raise KeyboardInterrupt
        seen.append((head.name, held_out))
        return right(stage, label, head, poolings, held_out, *given)

    monkeypatch.setattr(tasks, "_without", without)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    folder = config.run_dir / "open-set" / "mfcc" / "linear"
    assert sorted(path.name for path in folder.rglob("*.parquet")) == ["0.parquet", "1.parquet"]
    (folder / "unfinished" / "1.parquet").write_bytes(b"damaged")
    seen.append(("linear", "stopped"))
    train(config)
    assert seen[3:] == [("linear", 1), ("linear", 2), ("knn", 0), ("knn", 1), ("knn", 2)]
    for one, other in zip(read_open_set(config), read_open_set(finished), strict=True):
        assert one.table().equals(other.table())
    assert not list(config.run_dir.glob("open-set/**/unfinished"))


@pytest.mark.e2e
def test_background_that_joins_training_is_no_class_to_leave_out(tmp_path):
    sounds(tmp_path)
    for take in range(6):
        tone(tmp_path / "sounds" / "middle" / f"{take}.wav", 500, WINDOW_S, RATE, take)
        recording(tmp_path / "noise" / f"{take}.wav", take)
    config, corpus = experiment(tmp_path, background_in=["train", "valid", "test"], open_set=True)
    (fit,) = read_open_set(config)
    assert set(fit.table(["held_out"]).to_pandas()["held_out"]) == {"high", "low", "middle"}
    study = gather(config, corpus)
    assert [row["class"] for row in study.open_set.rows] == ["", "high", "low", "middle"]
    assert [row["support"] for row in study.open_set.rows] == [18, 6, 6, 6]
