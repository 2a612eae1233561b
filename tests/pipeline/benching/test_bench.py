"""`audioheads bench`: figures of models of a run, exported folders and ONNX graphs."""

import json
from pathlib import Path

import numpy as np
import pytest

from features.audio.decoding import read_waveform
from pipeline.benching.torch_model import SharedBackbone
from pipeline.predicting.predictor import Predictor
from tests.pipeline.predicting.conftest import run
from tests.pipeline.predicting.test_predict import clip_paths

pytestmark = pytest.mark.e2e
MODEL = "models/wav2vec2/linear"


def bench(capsys, model, *options) -> dict:
    """Return the JSON of a measurement."""
    capsys.readouterr()
    assert run("bench", model, "--n-clips", 3, "--json", *options) == 0
    return json.loads(capsys.readouterr().out)


def size_of(*paths) -> int:
    return sum(len(path.read_bytes()) for path in paths)


@pytest.mark.parametrize("head", ["linear", "knn", "attention"])
def test_what_is_timed_predicts_like_the_model(measured_run, head):
    predictor = Predictor.load(measured_run / "models" / "wav2vec2" / head, device="cpu")
    shared = SharedBackbone([predictor, predictor])
    for path in map(Path, clip_paths(measured_run).iloc[:3]):
        waveform = read_waveform(path, predictor.spec.sample_rate).samples
        expected = predictor.predict([path])[0]
        for scores in shared.scores(waveform):
            assert np.abs(scores - expected).max() < 1e-5


def test_sizes_are_those_of_the_files(measured_run, tmp_path, capsys):
    model = measured_run / "models" / "wav2vec2" / "knn"
    assert run("export", model, tmp_path / "folder") == 0
    (figures,) = bench(capsys, tmp_path / "folder", "--clips", clip_paths(measured_run).iloc[0])["runtimes"]
    backbone = size_of(*(tmp_path / "folder" / "backbone").iterdir())
    (head,) = (tmp_path / "folder").glob("*.safetensors")
    assert figures["sizes"] == {"backbone": backbone, "head": size_of(head)}
    assert figures["size_bytes"] == backbone + size_of(head)


def test_a_model_and_its_graph(measured_run, tmp_path, capsys):
    pytest.importorskip("onnxscript")
    of_run = bench(capsys, measured_run / MODEL)
    assert run("export", measured_run / MODEL, tmp_path / "graphs", "--format", "onnx") == 0
    graphs = bench(capsys, tmp_path / "graphs", "--threads", 2)
    assert of_run["clips"] == "3 clips of the run small" and graphs["clips"].startswith("3 synthetic sounds")
    (torch_figures, exported), (onnx,) = of_run["runtimes"], graphs["runtimes"]
    assert onnx["size_bytes"] == size_of(tmp_path / "graphs" / "model.onnx") == exported["size_bytes"]
    (head,) = (measured_run / MODEL).glob("*.safetensors")
    assert torch_figures["sizes"]["head"] == size_of(head)
    assert graphs["machine"]["threads"] == 2 and of_run["machine"]["threads"] == 1
    for one in (torch_figures, exported, onnx):
        assert one["n_clips"] == 3 and 0 < one["low_ms"] <= one["median_ms"] <= one["high_ms"]
    assert 20e6 < onnx["peak_memory_bytes"] < torch_figures["peak_memory_bytes"] / 2  # its process has no torch


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mfcc/linear", "onnx: not measured: mfcc has no torch graph"),
        ("wav2vec2/knn", "onnx: not measured: a head knn asks its training clips"),
    ],
)
def test_a_model_without_a_graph_has_torch_figures(measured_run, name, why, capsys):
    assert run("bench", measured_run / "models" / name, "--n-clips", 3) == 0
    out = capsys.readouterr().out
    assert why in out and "onnx  " not in out
    assert "torch  " in out and "3 runs on 3 clips of the run small of" in out and "machine: " in out


def test_onnxruntime_may_be_missing(measured_run, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = bench(capsys, measured_run / MODEL)
    assert [one["runtime"] for one in found["runtimes"]] == ["torch"]
    assert found["notes"] == ["onnx: not measured: onnxruntime is not installed; pip install 'audioheads[onnx]'"]


@pytest.mark.thorough
def test_a_network_has_one_part_on_disk(measured_run, capsys):
    pytest.importorskip("onnxscript")
    (fit,) = (measured_run / "models" / "cnn" / "none").glob("*.safetensors")
    torch_figures, onnx = bench(capsys, measured_run / "models" / "cnn" / "none")["runtimes"]
    assert torch_figures["sizes"] == {"backbone": 0, "network": size_of(fit)}
    assert set(onnx["sizes"]) == {"model.onnx", "frontend.onnx"}


def test_what_is_no_model_is_one_line(measured_run, tmp_path, capsys):
    for path, why in ((tmp_path / "no", "no such model"), (tmp_path, "not a model of a run")):
        assert run("bench", path) == 2
        error = capsys.readouterr().err
        assert why in error and len(error.strip().splitlines()) == 1
    assert run("bench", measured_run / MODEL, "--fold", "9") == 2
    assert "has no such fold" in capsys.readouterr().err
