"""A whole small experiment through the three stages, as the command line runs it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import UserError
from features.store.table import open_table
from heads.training.checkpoint import load_head
from pipeline.cache.explain import explain
from pipeline.cache.inspect import cache_files, verify
from pipeline.config.config import Config, load_config
from pipeline.console import Console
from pipeline.report.run import run_report
from pipeline.results.table import CALIBRATION_COLUMNS, COLUMNS, DEVICE_COLUMNS, LATER_COLUMNS
from pipeline.stages.features import load_corpus, run_features
from pipeline.stages.inputs import features_of, read_inputs
from pipeline.stages.train_heads import run_heads
from tests.pipeline.small_corpora import tone

pytestmark = pytest.mark.e2e  # runs whole experiments

CONFIG = """
name: small
dataset:
  {{kind: synthetic, root: {root}/audio, clips_per_class: 10, max_duration_s: 1.0, classes: [siren, warble, crackle]}}
features:
  pooling: [mean, std]
  backbones:
    - {{name: mfcc}}
    - {{name: wav2vec2, weights: random, size: tiny}}
heads:
  - {{name: linear}}
  - {{name: mlp, hidden: [16], max_epochs: 8}}
  - {{name: linear, pooling: [mean]}}
seeds: [0, 1]
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """All three stages done once."""
    root = tmp_path_factory.mktemp("experiment")
    path = root / "small.yaml"
    path.write_text(CONFIG.format(root=root))
    config = load_config(path)
    stage1(config)
    run_heads(config, device="cpu", dry_run=False, strict=False, console=Console())
    run_report(config, console=Console())
    return config


def stage1(config: Config, dry_run: bool = False) -> None:
    run_features(config, device="cpu", limit=None, dry_run=dry_run, strict=False, rehash=False, console=Console())


def results(config: Config) -> pd.DataFrame:
    """The results table; the majority row has empty cells."""
    table = pd.read_csv(config.run_dir / "report" / "results.csv")
    return table.fillna({"head": "", "pooling": "", "layer": "", "weights": "none"})


def test_the_table_has_the_columns_in_order_and_a_row_per_model_and_head(experiment: Config) -> None:
    table = results(experiment)
    added = ("balanced_accuracy", "balanced_accuracy_ci_low", "balanced_accuracy_ci_high", "n_groups")
    assert tuple(table.columns) == (*COLUMNS, *added, *LATER_COLUMNS, *CALIBRATION_COLUMNS, *DEVICE_COLUMNS)
    assert set(zip(table["model"], table["head"], table["pooling"], strict=True)) == {
        (model, head, pooling)
        for model in ("mfcc", "wav2vec2")
        for head, pooling in (("linear", "mean+std"), ("mlp", "mean+std"), ("linear", "mean"))
    } | {("majority", "", "")}
    assert dict(zip(table["model"], table["weights"], strict=True)) == {
        "mfcc": "none",
        "wav2vec2": "untrained",
        "majority": "none",
    }
    assert dict(zip(table["model"], table["family"], strict=True)) == {
        "mfcc": "handcrafted",
        "wav2vec2": "frozen",
        "majority": "baseline",
    }
    assert (table["n_test"] == 30).all() and (table["n_seeds"] == 2).all() and (table["n_failed"] == 0).all()
    assert (table["accuracy_ci_low"] < table["accuracy"]).all() or (table["accuracy"] == 0).any()
    assert (table["accuracy"] <= table["accuracy_ci_high"] + 1e-9).all()
    assert table["tied_with_best"].iloc[0]


def test_every_score_can_be_recomputed_from_the_kept_predictions(experiment: Config) -> None:
    predictions = pd.read_parquet(experiment.run_dir / "predictions.parquet")
    labels = json.loads((experiment.run_dir / "labels.json").read_text())
    table = results(experiment).set_index(["model", "head", "pooling"])
    probabilities = np.stack(predictions["probabilities"].to_list())
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (np.array(labels)[probabilities.argmax(axis=1)] == predictions["predicted"]).all()
    for key, rows in predictions.groupby(["model", "head", "pooling"]):
        right = (rows["predicted"] == rows["target"]).groupby(rows["seed"]).mean().mean()
        assert right == pytest.approx(table.loc[key, "accuracy"])
        assert rows.groupby("seed")["id"].nunique().eq(30).all()


def test_markdown_and_json_show_the_numbers_of_the_csv(experiment: Config) -> None:
    folder = experiment.run_dir / "report"
    table = results(experiment)
    text = (folder / "results.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert text.startswith("# synthetic: protocol folds, 5 folds × 2 seeds, 30 clips tested\n")
    assert sum(line.endswith(" best |") for line in lines) == 1
    stored = json.loads((folder / "results.json").read_text())
    by_key = {(row["model"], row["head"], row["pooling"]): row for row in stored["rows"]}
    assert len(lines) == len(table) == len(by_key)
    for line, row in zip(lines, table.to_dict("records"), strict=True):
        assert f"| {row['accuracy']:.3f} |" in line
        assert by_key[row["model"], row["head"], row["pooling"]]["accuracy"] == pytest.approx(row["accuracy"])


def test_a_second_run_trains_nothing_and_loads_no_backbone(
    experiment: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("should not be called")

    monkeypatch.setattr("pipeline.stages.features.backbones.load", never)
    monkeypatch.setattr("pipeline.stages.head_fits.train_head", never)
    stage1(experiment)
    run_heads(experiment, device="cpu", dry_run=False, strict=False, console=Console())
    out = capsys.readouterr().out
    assert out.count("0 computed, 30 reused, 0 failed") == 2
    assert out.count(": reused → ") == 6


def test_saved_heads_give_the_kept_predictions(experiment: Config) -> None:
    corpus = load_corpus(experiment)
    manifest, inputs = corpus.manifest, read_inputs(experiment, corpus)
    folder = experiment.run_dir / "models" / "wav2vec2" / "mlp"
    predictions = pd.read_parquet(folder / "predictions.parquet")
    for path in sorted(folder.glob("*.safetensors")):
        head = load_head(path)
        features = features_of(inputs.tables["wav2vec2"], head.pooling, manifest, inputs)
        fold, seed = str(head.extra["fold"]), head.extra["seed"]
        rows = predictions[(predictions["fold"] == fold) & (predictions["seed"] == seed)]
        at = [manifest.clips["id"].tolist().index(clip) for clip in rows["id"]]
        predicted = head.predict(features.read(np.array(at), head.layer))
        assert np.allclose(predicted, np.stack(rows["probabilities"].to_list()), atol=1e-5)
        assert list(head.labels) == manifest.labels


def test_stage_2_before_stage_1_names_the_command(experiment: Config, tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(CONFIG.format(root=tmp_path))
    with pytest.raises(UserError, match=r"mfcc: no embeddings .*; run `audioheads features .*other.yaml`"):
        run_heads(load_config(path), device="cpu", dry_run=False, strict=False, console=Console())
    with pytest.raises(UserError, match=r"mfcc linear is not trained yet; run `audioheads train-heads"):
        run_report(load_config(path), console=Console())


def test_a_changed_setting_is_not_served_by_the_old_cache(experiment: Config, tmp_path: Path) -> None:
    changed = load_config(experiment._source, ["features.backbones.wav2vec2.seed=1"])
    with pytest.raises(UserError, match="wav2vec2: no embeddings for these settings"):
        run_heads(changed, device="cpu", dry_run=False, strict=False, console=Console())


def test_explain_names_the_field_that_makes_a_new_file(experiment: Config, capsys: pytest.CaptureFixture[str]) -> None:
    explain(load_config(experiment._source, ["features.pooling=[mean]", "heads=[{name: linear}]"]), Console())
    out = capsys.readouterr().out
    assert "pooling is ['mean'], there ['mean', 'std']" in out
    assert "0 reused, 30 new, 0 changed" in out


def test_verify_finds_one_flipped_byte(experiment: Config, tmp_path: Path) -> None:
    whole = cache_files([experiment.output.cache])
    assert len(whole) == 2 and verify([experiment.output.cache], Console())
    damaged = tmp_path / "damaged.h5"
    content = bytearray(whole[0].read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert not verify([damaged], Console())


def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dry.yaml"
    path.write_text(CONFIG.format(root=tmp_path))
    stage1(load_config(path), dry_run=True)
    assert "would compute 30 clips" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists() and not (tmp_path / "runs").exists()


def test_a_clip_that_one_backbone_cannot_use_is_in_no_score(tmp_path: Path) -> None:
    path = tmp_path / "failing.yaml"
    path.write_text(CONFIG.format(root=tmp_path))
    config = load_config(path, ["heads=[{name: linear}]", "seeds=[0]"])
    manifest = load_corpus(config).manifest
    manifest.path_of(3).write_bytes(b"not audio")
    table = tmp_path / "manifest.csv"
    manifest.write_csv(table)
    config = load_config(
        path, ["heads=[{name: linear}]", "seeds=[0]", f"dataset={{kind: csv, root: {table}, name: bad}}"]
    )
    stage1(config)
    run_heads(config, device="cpu", dry_run=False, strict=False, console=Console())
    run_report(config, console=Console())
    results = pd.read_csv(config.run_dir / "report" / "results.csv")
    assert (results["n_test"] == 29).all() and (results["n_failed"] == 1).all()
    stored = json.loads((config.run_dir / "report" / "results.json").read_text())
    bad = manifest.clips["id"].iat[3]
    assert bad in stored["failures"] and "cannot be decoded" in stored["failures"][bad]
    listed = (config.run_dir / "report" / "results.md").read_text()
    assert "## 1 clip failed, excluded from all scores" in listed and "cannot be decoded" in listed
    predictions = pd.read_parquet(config.run_dir / "predictions.parquet")
    assert bad not in set(predictions["id"])
    assert bad in open_table(cache_files([config.output.cache])[0]).failures


def test_a_group_named_like_a_path_leaves_nothing_elsewhere(tmp_path: Path) -> None:
    lines = ["path,label,group"]
    for group, name in enumerate(("../../out", "a/b", "c")):
        for label in ("low", "high"):
            for take in range(2):
                clip = tmp_path / "audio" / f"{group}-{label}-{take}.wav"
                tone(clip, 300 if label == "low" else 900, 0.4, 16_000, 10 * group + take)
                lines.append(f"{clip},{label},{name}")
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    path = tmp_path / "odd.yaml"
    path.write_text(
        f"dataset: {{kind: csv, root: {tmp_path}/clips.csv}}\nheads: [{{name: linear, l2: 0.1}}]\n"
        f"protocol: leave-one-group-out\noutput: {{cache: {tmp_path}/cache, runs: {tmp_path}/runs}}\n"
    )
    config = load_config(path)
    stage1(config)
    run_heads(config, device="cpu", dry_run=False, strict=False, console=Console())
    folder = config.run_dir / "models" / "mfcc" / "linear"
    assert sorted(tmp_path.rglob("*.safetensors")) == sorted(folder.glob("*.safetensors"))
    assert len(list(folder.glob("*.safetensors"))) == 3
