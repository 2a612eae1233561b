"""Calibrated scores and decisions of trained models: in predict, in every export, and after a change of settings."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

import audioheads as ah
from heads.evaluation.decisions.calibrators import METHODS
from pipeline.predicting.predictor import Predictor
from pipeline.results.decisions.fit_decisions import read_decisions
from tests.once import made_once
from tests.pipeline.predicting.conftest import run, trained
from tests.pipeline.predicting.test_predict import clip_paths, labelled, probabilities, stored

pytestmark = pytest.mark.e2e  # runs whole experiments

SETS = (
    "heads=[{name: linear, label: linear-mean, pooling: [mean], l2: [0.01]}, {name: mlp, hidden: [8], max_epochs: 3}]",
    "features.backbones=[{name: mfcc}, {name: wav2vec2, weights: random, size: tiny}]",
    *("finetune=[]", "seeds=[0]", "operating_point={min_precision: 0.9, below: unknown}"),
)


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory) -> Path:
    """The folder of an experiment with a temperature and thresholds."""
    return made_once(tmp_path_factory, "calibrated", lambda root: trained(root, *SETS, "calibrate=temperature"))


def again(root: Path, *sets: str, command: str = "train-heads", options: tuple[str, ...] = ()) -> int:
    """Run the experiment in a copied folder with other settings."""
    text = (root / "small.yaml").read_text()
    audio, copied = text.split("root: ")[1].split("/audio")[0], root.as_posix()
    (root / "small.yaml").write_text(text.replace(audio, copied))
    given = (part for one in (*SETS, *sets) for part in ("--set", one))
    return run(command, root / "small.yaml", "--device", "cpu", *given, *options)


def raw_and_mapped(run_dir: Path, model: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Kept test predictions of a model, the same through the map of its fit, and the files."""
    kept = stored(run_dir / "models" / model)
    (own,) = read_decisions(run_dir / "models" / model, 3).values()
    raw = probabilities(kept)
    return raw, own.calibrator(raw, "single-label"), list(clip_paths(run_dir)[kept["id"]])


@pytest.mark.parametrize("model", ["mfcc/mlp", "wav2vec2/linear-mean-mean"])
def test_predict_gives_calibrated_probabilities(calibrated, model):
    raw, mapped, paths = raw_and_mapped(calibrated / "runs" / "small", model)
    predicted = Predictor.load(calibrated / "runs" / "small" / "models" / model, device="cpu").predict(paths)
    assert np.abs(predicted - mapped).max() < 1e-5
    assert np.abs(predicted - raw).max() > 1e-3


def test_predict_decides_by_the_stored_thresholds(calibrated, tmp_path):
    run_dir = calibrated / "runs" / "small"
    _, mapped, paths = raw_and_mapped(run_dir, "mfcc/mlp")
    (own,) = read_decisions(run_dir / "models" / "mfcc" / "mlp", 3).values()
    labels = json.loads((run_dir / "labels.json").read_text())
    best = mapped.argmax(axis=1)
    reached = mapped.max(axis=1) >= own.point.thresholds[best]
    expected = [labels[at] if sure else "unknown" for at, sure in zip(best, reached, strict=True)]
    for suffix in (".csv", ".jsonl", ".parquet"):
        out = tmp_path / f"scores{suffix}"
        assert run("predict", run_dir / "models" / "mfcc" / "mlp", *paths, "--operating-point", "-o", out) == 0
        read = {".csv": pd.read_csv, ".jsonl": lambda path: pd.read_json(path, lines=True), ".parquet": pd.read_parquet}
        table = read[suffix](out)
        assert table["decision"].tolist() == expected
        assert np.allclose(table["score"], mapped.max(axis=1), atol=1e-5)


def test_windows_become_events(calibrated, tmp_path, capsys):
    run_dir = calibrated / "runs" / "small"
    model, paths = run_dir / "models" / "mfcc" / "mlp", list(clip_paths(run_dir)[:3])
    out = tmp_path / "events.csv"
    windows = ("--windows", "--window-s", "0.2", "--hop-s", "0.1", "-o", tmp_path / "windows.csv")
    assert run("predict", model, *paths, "--operating-point", *windows, "--events", out) == 0
    table, events = pd.read_csv(tmp_path / "windows.csv"), pd.read_csv(out)
    for event in events.to_dict("records"):
        inside = table[(table["id"] == event["id"]) & table["start_s"].between(event["onset_s"], event["offset_s"])]
        assert event["label"] in inside["decision"].tolist() and event["score"] in inside["score"].tolist()
    assert set(table.loc[table["decision"] != "unknown", "id"]) == set(events["id"])
    capsys.readouterr()
    assert run("predict", model, *paths, "--events", out) == 2
    assert "--events" in (error := capsys.readouterr().err) and "add --windows --operating-point" in error


def test_thresholds_give_the_labels_of_clips_with_several(tmp_path):
    path = labelled(tmp_path, [[["a"], ["a", "b"], ["b", "c"], []][number % 4] for number in range(20)])
    sets = (f"dataset={{kind: jsonl, root: {path}}}", "heads=[{name: linear, l2: [0.1]}]", "finetune=[]", "seeds=[0]")
    run_dir = trained(tmp_path, *sets, "features.backbones=[{name: mfcc}]", "operating_point={min_recall: 0.9}")
    model, paths = run_dir / "models" / "mfcc" / "linear", list(clip_paths(run_dir))
    points = [own.point.thresholds for own in read_decisions(model, 3).values()]
    outputs = Predictor.load(model, device="cpu").predict(paths)
    expected, plain = (
        [tuple(np.array(["a", "b", "c"], dtype=object)[row >= threshold]) for row in outputs]
        for threshold in (np.mean(points, axis=0), 0.5)
    )
    assert expected != plain
    assert ah.Predictor(model, device="cpu").predict(paths) == expected
    assert run("predict", model, *paths, "-o", tmp_path / "out.csv") == 0
    assert pd.read_csv(tmp_path / "out.csv", keep_default_na=False)["label"].tolist() == list(map(";".join, expected))


@pytest.mark.parametrize("method", METHODS)
def test_settings_change_without_training_again_and_every_export_applies_them(calibrated, tmp_path, method, capsys):
    root = tmp_path / "root"
    shutil.copytree(calibrated, root)
    model = root / "runs" / "small" / "models" / "wav2vec2" / "linear-mean-mean"
    before = {path: path.stat().st_mtime_ns for path in model.glob("predictions.parquet")}
    assert again(root, f"calibrate={method}") == 0
    assert "reused" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in model.glob("predictions.parquet")}
    _, mapped, paths = raw_and_mapped(root / "runs" / "small", "wav2vec2/linear-mean-mean")
    for kind in ("audioheads", "onnx", "transformers"):
        refused = kind == "transformers" and method != "temperature"
        made = tmp_path / kind
        # The export is compared with the original before it is complete.
        assert run("export", model, made, "--format", kind, "--device", "cpu") == (2 if refused else 0)
        if refused:
            assert f"the calibration {method} is not linear" in capsys.readouterr().err
            continue
        about, card = json.loads((made / "config.json").read_text()), (made / "README.md").read_text()
        assert about["calibration"] == method and f"calibrated ({method}, fitted on validation clips)" in card
        assert (
            about["operating_point"]["rule"] == "min_precision 0.9" and len(about["operating_point"]["thresholds"]) == 3
        )
        assert "below the threshold of its class is `unknown`" in card
    copy = Predictor.load(tmp_path / "audioheads", device="cpu")
    assert np.abs(copy.predict(paths) - mapped).max() < 1e-5
    assert copy.fitted.point is not None and copy.fitted.point.rule.below == "unknown"


def metadata(model: Path) -> dict:
    (path,) = model.glob("fold-*.safetensors")
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["audioheads-head"])


def test_calibration_and_thresholds_can_be_removed_and_an_interrupted_change_is_finished(calibrated, tmp_path, capsys):
    root = tmp_path / "root"
    shutil.copytree(calibrated, root)
    model = root / "runs" / "small" / "models" / "mfcc" / "mlp"
    fitted = metadata(model)
    (model / "decisions.json").write_text('{"settings": null}')  # a change that was interrupted
    assert again(root, "calibrate=temperature") == 0
    assert metadata(model) == fitted and fitted["calibration"]["method"] == "temperature"
    assert again(root, "operating_point=null") == 0
    about = metadata(model)
    assert about["calibration"] is None and about["operating_point"] is None
    capsys.readouterr()
    clip = clip_paths(root / "runs" / "small").iloc[0]
    assert run("predict", model, clip, "--operating-point") == 2
    assert "has no thresholds; set `operating_point` in its config" in capsys.readouterr().err


def test_a_head_without_validation_predictions_is_trained_again(calibrated, tmp_path, capsys):
    root = tmp_path / "root"
    shutil.copytree(calibrated, root)
    models = root / "runs" / "small" / "models"
    for path in models.glob("mfcc/*/validation.parquet"):  # as in the run of an older version
        path.unlink()
    capsys.readouterr()
    assert again(root, "calibrate=platt") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train-heads")]
    assert ["reused" in line for line in lines] == [False, False, True, True]
    assert metadata(models / "mfcc" / "mlp")["calibration"]["method"] == "platt"


def test_the_last_shard_fits_the_decisions_of_all_heads(calibrated, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(calibrated, root)
    models = root / "runs" / "small" / "models"
    expected = {path.relative_to(models).parent: metadata(path.parent) for path in models.glob("*/*/decisions.json")}
    assert len(expected) == 4
    shutil.rmtree(models)
    for shard, settled in (("1/2", 0), ("2/2", 4)):
        assert again(root, "calibrate=temperature", options=("--shard", shard)) == 0
        assert len(list(models.glob("*/*/decisions.json"))) == settled
    for model, about in expected.items():
        assert metadata(models / model)["calibration"] == about["calibration"]
        assert metadata(models / model)["operating_point"] == about["operating_point"]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("operating_point={max_f1: true, below: siren}",), "operating_point.below: 'siren' is a class of synthetic"),
        (("operating_point={}",), "operating_point: set exactly one of max_f1, min_precision"),
        (("operating_point={max_f1: true, min_recall: 0.5}",), "got max_f1, min_recall"),
        (("operating_point={max_false_alarms_per_hour: 0.5}",), "needs recordings of background for validation"),
        (("operating_point={min_precision: 1.5}",), "operating_point.min_precision"),
        (("calibrate=temprature",), "did you mean 'temperature'?"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(calibrated, tmp_path, sets, message, capsys):
    root = tmp_path / "root"
    shutil.copytree(calibrated, root)
    capsys.readouterr()
    assert again(root, *sets) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1
