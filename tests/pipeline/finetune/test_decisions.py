"""Calibration and thresholds of models trained end to end: fitted on validation clips, applied when they predict."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.datasets import tabular
from heads.evaluation.decisions.operating_points import Rule
from pipeline.predicting.predictor import Predictor
from pipeline.results.decisions.fit_decisions import fit_decisions, read_decisions, read_validation
from tests.once import made_once
from tests.pipeline.predicting.conftest import run, trained
from tests.pipeline.predicting.test_decisions import raw_and_mapped

pytestmark = pytest.mark.e2e  # runs whole experiments

pytest.importorskip("lightning")

M5, ENCODER = "m5/none", "wav2vec2-finetuned/mlp"
M5_ENTRY = "{name: m5, epochs: 1, batch_size: 8, channels: [8, 8, 8, 8], threads: 1}"
ENCODER_ENTRY = "{name: wav2vec2, weights: random, size: tiny, epochs: 1, batch_size: 8, threads: 1}"
SETS = ("heads=[{name: linear, l2: [0.01]}]", "features.backbones=[{name: mfcc}]", "seeds=[0]")
DECIDED = ("calibrate=temperature", "operating_point={max_f1: true}")


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory) -> Path:
    """The run of two end-to-end models with a temperature and thresholds."""
    both = f"finetune=[{M5_ENTRY}, {ENCODER_ENTRY}]"
    made = made_once(tmp_path_factory, "calibrated-networks", lambda root: trained(root, *SETS, both, *DECIDED))
    return made / "runs" / "small"


@pytest.fixture
def root(tmp_path) -> Path:
    """An experiment of one model that may be changed."""
    trained(tmp_path, *SETS, f"finetune=[{M5_ENTRY}]")
    return tmp_path


def again(root: Path, *sets: str) -> int:
    given = (part for one in (*SETS, f"finetune=[{M5_ENTRY}]", *sets) for part in ("--set", one))
    return run("finetune", root / "small.yaml", "--device", "cpu", *given)


@pytest.mark.parametrize("model", [M5, ENCODER])
def test_predict_gives_calibrated_probabilities_and_thresholds(calibrated, model):
    raw, mapped, paths = raw_and_mapped(calibrated, model)
    predictor = Predictor.load(calibrated / "models" / model, device="cpu")
    predicted = predictor.predict(paths)
    assert np.abs(predicted - mapped).max() < 1e-4
    assert np.abs(mapped - raw).max() > 1e-3
    (own,) = read_decisions(calibrated / "models" / model, 3).values()
    assert predictor.fitted.calibration == "temperature"
    np.testing.assert_array_equal(predictor.thresholds, own.point.thresholds)


def test_they_are_fitted_on_validation_clips_alone(calibrated):
    folder = calibrated / "models" / M5
    manifest = tabular.index(calibrated / "manifest.csv", task="single-label")
    (validation,) = read_validation(folder, manifest)
    assert len(validation.ids) > 0
    assert not set(validation.ids) & set(pd.read_parquet(folder / "predictions.parquet")["id"])
    expected = fit_decisions([validation], "temperature", Rule("max_f1", 1.0))
    for key, own in read_decisions(folder, 3).items():
        assert own.calibrator.value == expected[key].calibrator.value
        np.testing.assert_array_equal(own.point.thresholds, expected[key].point.thresholds)


def test_an_exported_folder_keeps_them_and_onnx_is_refused(calibrated, tmp_path, capsys):
    model = calibrated / "models" / M5
    assert run("export", model, tmp_path / "made") == 0
    assert json.loads((tmp_path / "made" / "config.json").read_text())["calibration"] == "temperature"
    assert Predictor.load(tmp_path / "made", device="cpu").fitted.calibration == "temperature"
    capsys.readouterr()
    assert run("export", model, tmp_path / "graph", "--format", "onnx") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("--format onnx: m5 is trained end to end and calibrated")


def test_a_change_of_settings_trains_nothing(root, capsys):
    folder = root / "runs" / "small" / "models" / M5
    before = {path.name: path.read_bytes() for path in folder.glob("fold-*.json")}
    paths = [str(path) for path in sorted((root / "audio").rglob("*.wav"))[:3]]
    raw = Predictor.load(folder, device="cpu").predict(paths)
    capsys.readouterr()
    assert again(root, *DECIDED) == 0
    assert "reused" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.glob("fold-*.json")} == before
    changed = Predictor.load(folder, device="cpu")
    assert changed.fitted.calibration == "temperature" and changed.thresholds is not None
    assert np.abs(changed.predict(paths) - raw).max() > 1e-4
    assert again(root) == 0
    np.testing.assert_array_equal(Predictor.load(folder, device="cpu").predict(paths), raw)


def test_fits_from_before_are_trained_again_only_if_they_are_needed(root, capsys):
    folder = root / "runs" / "small" / "models" / M5
    (folder / "validation.parquet").unlink()
    for path in folder.glob("fold-*.json"):
        about = json.loads(path.read_text())
        del about["valid_probabilities"]
        path.write_text(json.dumps(about))
    capsys.readouterr()
    assert again(root) == 0
    assert "m5: reused" in capsys.readouterr().out
    assert again(root, *DECIDED) == 0
    assert "m5: 1 fits trained, 0 reused" in capsys.readouterr().out
    assert (folder / "validation.parquet").is_file()
