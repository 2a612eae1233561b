"""Background for models trained end to end: they are run on it, trained on it, and get thresholds from it."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from pipeline.console import Console
from pipeline.finetune.run import run_finetune
from pipeline.predicting.predictor import Predictor
from pipeline.recordings.background import background_of
from pipeline.report.run import run_report
from pipeline.results.decisions.fit_decisions import read_decisions
from tests.pipeline.stages.test_background import QUIET, RATE, experiment, noises, recording, sounds

pytestmark = pytest.mark.e2e  # trains networks

pytest.importorskip("lightning")

CNN = {"name": "cnn", "epochs": 2, "batch_size": 4, "channels": [4, 8], "threads": 1}


def trained(root, name="made", **values):
    """Run stage 1 and train a head and a network; return config and corpus."""
    config, corpus = experiment(root, name, finetune=[CNN], **values)
    run_finetune(config, device="cpu", dry_run=False, strict=False, console=Console(), corpus=corpus)
    return config, corpus


def folder_of(config):
    return config.run_dir / "models" / "cnn" / "none"


def fitted(config):
    """Weights, map and thresholds of each network, and its best loss on validation."""
    losses = [
        json.loads(path.read_text())["course"]["best_loss"] for path in sorted(folder_of(config).glob("fold-*.json"))
    ]
    weights = [path.read_bytes() for path in sorted(folder_of(config).glob("*.safetensors"))]
    return list(zip(weights, losses, strict=True))


def test_false_alarms_are_those_that_predict_finds(tmp_path):
    sounds(tmp_path)
    for number in range(6):
        recording(tmp_path / "noise" / f"{number}.wav", number, [(2, 300), (3, 300), (6, 900)])
    values = {"calibrate": "temperature", "operating_point": QUIET, "background_in": ["valid", "test"]}
    config, _ = trained(tmp_path, **values)
    run_report(config, console=Console())
    windows = pd.read_csv(config.run_dir / "background.csv")
    tested = windows.loc[windows["part"] == "test", "recording"].unique().tolist()
    audio = [
        part.astype(np.float32) for name in tested for part in sf.read(tmp_path / "noise" / name)[0].reshape(8, -1)
    ]
    counts = []
    for (fold, _, _), decisions in read_decisions(folder_of(config), 2).items():
        scores = Predictor.load(folder_of(config), fold=fold, device="cpu").predict(audio, sample_rate=RATE)
        counts.append(int((scores.max(axis=1) >= decisions.point.thresholds[scores.argmax(axis=1)]).sum()))
    table = pd.read_csv(config.run_dir / "report" / "false_alarms.csv", keep_default_na=False)
    rows = table[(table["model"] == "cnn") & (table["scope"] == "all") & ~table["averaged"]].set_index("rule")
    assert rows.loc["max_false_alarms_per_hour 900", "false_alarms"] == pytest.approx(np.mean(counts))
    assert rows.loc["most probable class", "false_alarms"] == len(audio) == 24
    assert len(json.loads((config.run_dir / "report" / "false_alarms.json").read_text())["made"]) == 2
    assert "was not run on background" not in (config.run_dir / "report" / "index.html").read_text()


@pytest.mark.parametrize("parts", [["valid", "test"], ["train", "valid", "test"]], ids=len)
def test_test_recordings_change_no_network_and_others_do(tmp_path, parts):
    sounds(tmp_path)
    noises(tmp_path)
    values = {"background_in": parts, "operating_point": QUIET, "seeds": [0]}
    config, corpus = trained(tmp_path, "before", **values)
    before, division = fitted(config), background_of(corpus).table()
    assert len(before) == 5
    part_of = dict(zip(division["recording"], division["part"], strict=True))
    for changed in parts:
        noises(tmp_path, other=[int(name[0]) for name, part in part_of.items() if part == changed])
        config, corpus = trained(tmp_path, f"other-{changed}", **values)
        assert (fitted(config) == before) == (changed == "test")


def test_background_is_a_class_that_networks_learn(tmp_path, capsys):
    sounds(tmp_path)
    for number in range(5):
        recording(tmp_path / "noise" / f"{number}.wav", number)
    config, _ = trained(tmp_path, background_in=["train", "valid", "test"])
    run_report(config, console=Console())
    results = pd.read_csv(config.run_dir / "report" / "results.csv").set_index("model")
    assert results.loc["cnn", "n_test"] == 12  # labelled clips alone
    predictor = Predictor.load(folder_of(config), device="cpu")
    assert predictor.labels == ("background", "high", "low") and predictor.fitted.background == "background"
    table = pd.read_csv(config.run_dir / "report" / "false_alarms.csv", keep_default_na=False)
    of_network = table[(table["model"] == "cnn") & (table["scope"] == "all")]
    assert of_network["share_of_windows"].max() < 0.5
    file = folder_of(config) / "background.parquet"
    first = file.stat().st_mtime_ns
    capsys.readouterr()
    trained(tmp_path, background_in=["train", "valid", "test"])
    assert file.stat().st_mtime_ns == first and "cnn: reused" in capsys.readouterr().out


def test_scores_follow_the_recordings_without_training_again(tmp_path, capsys):
    sounds(tmp_path)
    recording(tmp_path / "noise" / "0.wav", 0)
    config, _ = trained(tmp_path)
    file = folder_of(config) / "background.parquet"
    assert len(pd.read_parquet(file)) == 8 * 5  # windows and folds
    recording(tmp_path / "noise" / "1.wav", 1)
    capsys.readouterr()
    trained(tmp_path)
    assert "cnn: reused" in capsys.readouterr().out
    assert len(pd.read_parquet(file)) == 16 * 5
