"""`audioheads export --int8`: the 8-bit graph and what accuracy it loses."""

import json
import runpy

import numpy as np
import pandas as pd
import pytest

from tests.pipeline.benching.test_bench import bench, size_of
from tests.pipeline.predicting.conftest import run

pytestmark = pytest.mark.e2e
MODEL = "models/wav2vec2/linear"


def test_the_loss_is_that_of_the_kept_predictions(measured_run, tmp_path, capsys):
    pytest.importorskip("onnxscript")
    made = tmp_path / "made"
    assert run("export", measured_run / MODEL, made, "--int8") == 0
    out = capsys.readouterr().out
    config, card = json.loads((made / "config.json").read_text()), (made / "README.md").read_text(encoding="utf-8")
    about = config["int8"]
    assert config["model"] == about["file"] == "model-int8.onnx"
    assert about["size_bytes"] == size_of(made / "model-int8.onnx") < about["float32_bytes"]
    assert about["float32_bytes"] == size_of(made / "model.onnx")
    predictions = pd.read_parquet(made / about["predictions"])
    scored = {}
    for name, own in predictions.groupby("model"):
        best = np.stack(own["probabilities"].to_list()).argmax(axis=1)
        assert (np.array(config["labels"])[best] == own["predicted"]).all()
        scored[name] = float((own["predicted"] == own["target"]).mean())
    assert scored == pytest.approx({"int8": about["int8"], "float32": about["float32"]})
    assert about["difference"] == pytest.approx(scored["int8"] - scored["float32"])
    assert about["difference_ci_low"] <= about["difference"] <= about["difference_ci_high"]
    stated = f"the accuracy is {about['int8']:.3f} in int8 and {about['float32']:.3f} in float32"
    assert stated in card and stated in out
    kept = pd.read_parquet(measured_run / MODEL / "predictions.parquet")
    assert set(predictions["id"]) == set(kept["id"]) and about["n_test"] == len(kept)
    exact = predictions[predictions["model"] == "float32"].set_index("id").loc[kept["id"], "probabilities"]
    assert np.abs(np.stack(exact.to_list()) - np.stack(kept["probabilities"].to_list())).max() < 1e-4
    example = runpy.run_path(str(made / "example.py"))
    first = predictions[predictions["model"] == "int8"].iloc[0]
    clips = pd.read_csv(measured_run / "manifest.csv").set_index("id")
    scores = example["predict"](measured_run / clips.loc[first["id"], "path"])
    assert np.abs(scores - first["probabilities"]).max() < 1e-6
    figures = bench(capsys, made)["runtimes"]
    assert [(one["runtime"], one["size_bytes"]) for one in figures] == [
        ("onnx", about["float32_bytes"]),
        ("onnx int8", about["size_bytes"]),
    ]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((MODEL, "--int8", "--format", "audioheads"), "--int8: quantises ONNX graphs, not the format audioheads"),
        ((MODEL, "--int8", "--ensemble", "all"), "an int8 graph is a single network; choose one fit with --fold"),
        (("models/mfcc/linear", "--int8"), "--int8: mfcc has no torch graph, and only the head would be quantised"),
        (("models/wav2vec2/knn", "--int8"), "a head knn asks its training clips"),
    ],
)
def test_what_cannot_be_quantised_is_one_line(measured_run, tmp_path, options, why, capsys):
    pytest.importorskip("onnxscript")
    model, *others = options
    assert run("export", measured_run / model, tmp_path / "made", *others) == 2
    assert why in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_a_copy_without_its_run_has_no_test_clips(measured_run, tmp_path, capsys):
    assert run("export", measured_run / "models/mfcc/linear", tmp_path / "copy") == 0
    assert run("export", tmp_path / "copy", tmp_path / "made", "--int8") == 2
    assert "is not in a run, whose test clips show what accuracy is lost" in capsys.readouterr().err
