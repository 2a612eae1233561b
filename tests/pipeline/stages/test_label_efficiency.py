"""Curves over few training clips: one point per shots, on the experiment's own test clips."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError, ManifestError
from pipeline.config.config import Config, load_config
from pipeline.console import Console
from pipeline.report.run import run_report
from pipeline.stages.features import run_features
from pipeline.stages.label_efficiency import points, read_curves
from pipeline.stages.train_heads import run_heads

pytestmark = pytest.mark.e2e  # runs whole experiments

CONFIG = """
name: curve
dataset: {{kind: synthetic, root: {root}/audio, clips_per_class: 15, max_duration_s: 0.6, classes: [siren, warble]}}
features: {{pooling: [mean, std], backbones: [{{name: mfcc}}, {{name: mfcc, label: other, max_duration_s: 10}}]}}
heads: [{{name: linear, l2: [0.1, 0.01]}}, {{name: mlp, hidden: 8, max_epochs: 3}}]
label_efficiency: {{shots: [all, 4, 1], draws: 3, backbones: [mfcc]}}
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Config:
    root = tmp_path_factory.mktemp("curve")
    (root / "curve.yaml").write_text(CONFIG.format(root=root))
    config = load_config(root / "curve.yaml")
    run_features(config, device="cpu", limit=None, dry_run=False, strict=False, rehash=False, console=Console())
    train(config)
    return config


def train(config: Config) -> None:
    run_heads(config, device="cpu", dry_run=False, strict=False, console=Console())


def test_each_point_tests_the_folds_with_its_own_number_of_clips(curve: Config) -> None:
    assert [(point.model, point.head.title, point.shots_text) for point in points(curve)] == [
        ("mfcc", "linear", "1"),
        ("mfcc", "linear", "4"),
        ("mfcc", "linear", "all"),
    ]
    few, more, everything = read_curves(curve)
    assert [fit.about["draws"] for fit in (few, more, everything)] == [3, 3, 1]
    assert [fit.about["n_train"] for fit in (few, more)] == [2, 8]  # of two classes
    assert everything.about["n_train"] > 8
    main = pd.read_parquet(curve.run_dir / "models" / "mfcc" / "linear" / "predictions.parquet")
    for fit in (few, more):
        predictions = fit.table().to_pandas()
        assert set(predictions["draw"]) == {0, 1, 2}
        assert predictions.groupby("draw")["id"].apply(set).tolist() == [set(main["id"])] * 3
    one, all_of = (table.set_index("id").sort_index() for table in (main, everything.table().to_pandas()))
    assert np.allclose(np.stack(one["probabilities"]), np.stack(all_of["probabilities"]))


def test_a_second_run_trains_no_point_again(curve: Config, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in curve.run_dir.rglob("fit.json")}
    train(curve)
    assert {path: path.stat().st_mtime_ns for path in curve.run_dir.rglob("fit.json")} == before
    assert capsys.readouterr().out.count("per class: reused") == 3


def test_more_shots_than_clips_and_unknown_names_are_errors(curve: Config, tmp_path: Path) -> None:
    path = curve.run_dir.parents[1] / "curve.yaml"
    with pytest.raises(ManifestError, match=r"'siren' has 9 training clip.*label_efficiency.shots asks for 20"):
        train(load_config(path, ["label_efficiency.shots=[20]", f"output.runs={curve.output.runs}"]))
    with pytest.raises(ConfigError, match=r"label_efficiency.heads\[0\]: unknown 'liner', did you mean 'linear'"):
        load_config(path, ["label_efficiency.heads=[liner]"])
    with pytest.raises(ConfigError, match=r"label_efficiency.shots"):
        load_config(path, ["label_efficiency.shots=[0]"])


def test_refit_trains_on_validation_clips_too_and_reports_it(curve: Config, tmp_path: Path) -> None:
    path = curve.run_dir.parents[1] / "curve.yaml"
    sets = ["refit=true", f"output.runs={tmp_path}", "label_efficiency=null"]
    config = load_config(path, sets)
    run_features(config, device="cpu", limit=None, dry_run=False, strict=False, rehash=False, console=Console())
    train(config)
    for head in ("linear", "mlp"):
        folders = [run / "models" / "mfcc" / head for run in (curve.run_dir, config.run_dir)]
        plain, again = (json.loads((folder / "fit.json").read_text()) for folder in folders)
        assert again["protocol"] == plain["protocol"] + "+refit"
        assert again["candidates"] == plain["candidates"]  # the choice is the same
        one, other = (pd.read_parquet(folder / "predictions.parquet") for folder in folders)
        assert not np.allclose(np.stack(one["probabilities"]), np.stack(other["probabilities"]), atol=1e-4)


def test_the_report_scores_every_point(curve: Config, capsys: pytest.CaptureFixture[str]) -> None:
    run_report(curve, console=Console())
    assert "label efficiency" in capsys.readouterr().out
    folder = curve.run_dir / "report"
    table = pd.read_csv(folder / "label_efficiency.csv", dtype={"shots": str})
    assert table["shots"].tolist() == ["1", "4", "all"]
    for fit, row in zip(read_curves(curve), table.to_dict("records"), strict=True):
        predictions = fit.table().to_pandas()
        right = (predictions["target"] == predictions["predicted"]).mean()
        assert row["accuracy"] == pytest.approx(right)
        assert row["accuracy_ci_low"] < right <= row["accuracy_ci_high"]
    results = pd.read_csv(folder / "results.csv").set_index(["model", "head"])
    assert results.loc[("mfcc", "linear"), "accuracy"] == pytest.approx(table["accuracy"].iat[-1])
    assert json.loads((folder / "results.json").read_text())["label_efficiency"] == table.replace(
        {"shots": {"1": 1, "4": 4}}
    ).to_dict("records")
