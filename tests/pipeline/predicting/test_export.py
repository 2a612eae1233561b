"""`audioheads export`: self-contained folders, model cards, transformers models, ONNX graphs."""

import json
import os
import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from features.audio.decoding import read_waveform
from features.errors import WeightsError
from pipeline.predicting.locate import models_of
from pipeline.predicting.predictor import Predictor
from tests import processes
from tests.once import made_once
from tests.pipeline.predicting.conftest import run, trained
from tests.pipeline.predicting.test_predict import clip_paths

pytestmark = pytest.mark.e2e
KINDS = [
    *(
        "wav2vec2/linear",
        "wav2vec2/weighted-sum",
        "wav2vec2/attention",
        "wav2vec2/layer-attention",
        "mfcc/knn",
        "mfcc/SVC",
    ),
    *("m5/none", "crnn/none", "resnet18/none", "wav2vec2-finetuned/mlp", "vggish-finetuned/mlp"),
]


@pytest.mark.parametrize("name", KINDS)
def test_an_exported_folder_predicts_like_the_model(everything, tmp_path, name, capsys):
    model, made = everything / "models" / name, tmp_path / "made"
    assert run("export", model, made) == 0
    assert "6 clips of the run small: the largest difference in an output is" in capsys.readouterr().out
    moved = made.rename(tmp_path / "moved")
    clips = list(clip_paths(everything).iloc[:5])
    bound = 1e-5 if name.startswith(("wav2vec2/", "mfcc")) else 1e-4
    predicted = Predictor.load(moved, device="cpu").predict(clips)
    assert np.abs(predicted - Predictor.load(model, device="cpu").predict(clips)).max() < bound
    for file in moved.rglob("*"):
        if file.is_file():  # no paths of this machine, including the metadata of weights files
            assert str(everything).encode() not in file.read_bytes()
    assert ("backbone" in os.listdir(moved)) == name.startswith("wav2vec2/")  # noqa: PTH208


def run_script(script: Path, *arguments: Path) -> None:
    """Run a script like `python SCRIPT ARGUMENTS`."""
    sys.argv = [str(script), *map(str, arguments)]
    runpy.run_path(str(script), run_name="__main__")


def test_the_example_runs_elsewhere_with_the_folder_alone(everything, tmp_path):
    made = tmp_path / "made"
    assert run("export", everything / "models" / "wav2vec2" / "linear", made) == 0
    card = (made / "README.md").read_text(encoding="utf-8")
    example = (made / "example.py").read_text(encoding="utf-8")
    assert example.rstrip() in card and len([line for line in example.splitlines() if line.strip()]) <= 10
    assert re.search(r'pip install "audioheads==[\w.+]+"\npython example.py some.wav', card)
    shutil.copy(clip_paths(everything).iloc[0], tmp_path / "some.wav")
    away = tmp_path / "away"
    away.mkdir()
    ended = processes.run(run_script, made / "example.py", tmp_path / "some.wav", cwd=away, HF_HUB_OFFLINE="1")
    assert ended.returncode == 0, ended.stderr
    label, score = ended.stdout.split()[1:]
    scores = Predictor.load(made, device="cpu").predict([tmp_path / "some.wav"])[0]
    assert abs(float(score) - scores.max()) < 1e-5 and label in ("band_noise", "siren", "warble")


def test_the_card_has_metadata_for_hubs_and_text_for_people(everything, folds, tmp_path):
    assert run("export", everything / "models" / "wav2vec2" / "linear", tmp_path / "w", "--license", "mit") == 0
    assert run("export", folds / "models" / "mfcc" / "mlp", tmp_path / "f") == 0
    _, front, body = (tmp_path / "w" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["license"] == "mit" and about["pipeline_tag"] == "audio-classification"
    assert about["library_name"] == "audioheads" and about["datasets"] == ["synthetic"]
    report = pd.read_csv(everything / "report" / "results.csv").set_index(["model", "head"])
    row = report.loc[("wav2vec2", "linear")]
    (metric,) = about["model-index"][0]["results"][0]["metrics"]
    assert metric["type"] == "accuracy" and metric["value"] == pytest.approx(row["accuracy"], abs=1e-4)
    for text in ("band_noise, siren, warble", "untrained", "protocol `holdout`", f"{row['accuracy_ci_low']:.3f}"):
        assert text in body
    assert "**Every clip counted as independent, because no groups are known" in body and "clustered" not in body
    averaged = (tmp_path / "f" / "README.md").read_text(encoding="utf-8")
    assert "averages 5 of these fits" in averaged
    assert len(json.loads((tmp_path / "f" / "config.json").read_text())["members"]) == 5


def test_changed_weights_are_refused(everything, tmp_path):
    made = tmp_path / "made"
    assert run("export", everything / "models" / "wav2vec2" / "linear", made) == 0
    weights = made / "backbone" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match="differs in weights_sha256"):
        Predictor.load(made)


def test_without_the_backbone_its_weights_are_named_and_checked(tmp_path, capsys, everything):
    from features.backbones import bundle, describe

    entry = {"name": "wav2vec2", "weights": "random", "size": "tiny"}
    encoder = tmp_path / "encoder"
    bundle(entry, describe(entry), encoder)
    backbones = f"features.backbones=[{{name: wav2vec2, weights: {encoder}}}]"
    dataset = f"dataset.root={everything.parents[1] / 'audio'}"
    heads = "heads=[{name: linear, l2: [0.01], pooling: [mean]}]"
    run_dir = trained(tmp_path, backbones, dataset, heads, "finetune=[]", "seeds=[0]")
    assert run("export", run_dir, tmp_path / "made", "--no-backbone") == 0
    clip = clip_paths(run_dir).iloc[0]
    capsys.readouterr()
    assert run("predict", tmp_path / "made", clip) == 2
    assert "no folder 'encoder'" in capsys.readouterr().err
    moved = encoder.rename(tmp_path / "elsewhere")
    assert run("predict", tmp_path / "made", clip, "--weights", moved) == 0
    card = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert "python example.py WEIGHTS some.wav" in card and str(tmp_path) not in card


def test_a_family_that_cannot_be_copied_is_an_error(everything, tmp_path, monkeypatch, capsys):
    monkeypatch.delattr("features.backbones.wav2vec2.bundle")
    assert run("export", everything / "models" / "wav2vec2" / "linear", tmp_path / "made") == 2
    assert "backbones of family wav2vec2 cannot be copied into a folder" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_folder_with_other_files_is_not_touched(folds, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert run("export", folds, tmp_path, "--overwrite") == 2
    assert (tmp_path / "thesis.tex").exists()
    assert run("export", folds, tmp_path / "made", "--fold", "2") == 0
    assert run("export", folds, tmp_path / "made") == 2
    assert "use --overwrite to replace it" in capsys.readouterr().err
    assert run("export", folds, tmp_path / "made", "--overwrite") == 0
    assert len(list((tmp_path / "made").glob("*.safetensors"))) == 5


STABLE = "{do_stable_layer_norm: true, feat_extract_norm: layer}"
ENCODERS = {
    "wav2vec2": "",
    "stable": f", architecture: {STABLE}",
    "hubert": ", model_type: hubert",
    "wavlm": ", model_type: wavlm, random_normalize: false",
    "data2vec": ", model_type: data2vec-audio",
    "unispeech-sat": ", model_type: unispeech-sat",
}


@pytest.fixture(scope="module")
def encoders(everything, tmp_path_factory) -> Path:
    """Linear heads on the last and on another layer of every architecture."""
    entries = [
        f"{{name: wav2vec2, label: {label}, weights: random, size: tiny{more}}}" for label, more in ENCODERS.items()
    ]
    heads = (
        "{name: linear, l2: [0.01], pooling: [mean], layers: last}",
        "{name: linear, label: first, l2: [0.01], pooling: [mean], layers: [1]}",
        "{name: mlp, hidden: [8], max_epochs: 2, pooling: [mean]}",
    )
    sets = (
        f"dataset.root={everything.parents[1] / 'audio'}",
        f"features.backbones=[{', '.join(entries)}]",
        "features.pooling=[mean]",
        f"heads=[{', '.join(heads)}]",
        "finetune=[]",
        "seeds=[0]",
    )
    return made_once(tmp_path_factory, "encoders", lambda root: trained(root, *sets)) / "runs" / "small"


@pytest.mark.parametrize("label", ENCODERS)
def test_transformers_loads_linear_heads_with_equal_scores(encoders, tmp_path, label):
    from transformers import pipeline

    clips = list(clip_paths(encoders).iloc[:3])
    for head in ("linear-mean", "first-mean"):
        model = encoders / "models" / label / head
        assert run("export", model, tmp_path / head, "--format", "transformers") == 0
        expected = Predictor.load(model, device="cpu").predict(clips)
        classify = pipeline("audio-classification", model=str(tmp_path / head), device="cpu")
        for clip, row in zip(clips, expected, strict=True):
            scores = classify(read_waveform(Path(clip), 16_000).samples, top_k=None)
            predicted = {score["label"]: score["score"] for score in scores}
            assert [predicted[name] for name in ("band_noise", "siren", "warble")] == pytest.approx(row, abs=1e-4)


@pytest.mark.parametrize(
    ("run_name", "name", "why"),
    [
        ("encoders", "wav2vec2/mlp-mean", "the mlp has a ReLU"),
        ("everything", "wav2vec2/linear", "the head sees mean+std"),
        ("everything", "wav2vec2/weighted-sum", "standardises layers before mixing"),
        ("everything", "wav2vec2-finetuned/mlp", "ends in an mlp with a ReLU"),
        ("everything", "mfcc/linear", "only Wav2Vec2-like encoders"),
    ],
)
def test_transformers_is_refused_with_the_reason(run_name, name, why, tmp_path, request, capsys):
    model = request.getfixturevalue(run_name) / "models" / name
    assert run("export", model, tmp_path / "made", "--format", "transformers") == 2
    assert why in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_an_export_with_different_outputs_is_not_written(encoders, tmp_path, monkeypatch, capsys):
    from pipeline.exporting import transformers_format as transformers_folder

    right = transformers_folder.folded
    monkeypatch.setattr(transformers_folder, "folded", lambda head: (right(head)[0], right(head)[1] + [0.1, 0, 0]))
    model = encoders / "models" / "hubert" / "linear-mean"
    assert run("export", model, tmp_path / "made", "--format", "transformers") == 1
    assert "differs by" in capsys.readouterr().err and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        pytest.param("wav2vec2/mlp", "waveform", marks=pytest.mark.slow),  # also covered by the guide's export
        pytest.param("vggish-finetuned/mlp", "waveform", marks=pytest.mark.slow),
        pytest.param("wav2vec2/layer-attention", "waveform", marks=pytest.mark.slow),
        ("mfcc/weighted-sum", "features"),
        ("cnn/none", "windows"),
    ],
)
def test_onnx_graphs_predict_like_the_model(everything, tmp_path, name, takes, capsys):
    pytest.importorskip("onnxscript")
    model, made = everything / "models" / name, tmp_path / "made"
    assert run("export", model, made, "--format", "onnx") == 0
    captured = capsys.readouterr()
    assert f"{takes} in, outputs out" in captured.out
    assert run("predict", made, clip_paths(everything).iloc[0]) == 2
    assert "contains ONNX graphs; run its example.py" in capsys.readouterr().err
    if takes == "features":
        assert "has no torch graph, so only the head is exported" in captured.err
        return
    predict = runpy.run_path(str(made / "example.py"))["predict"]
    paths = list(clip_paths(everything).iloc[6:10])
    predicted = np.stack([predict(path) for path in paths])
    bound = 1e-3 if takes == "windows" else 1e-4
    assert np.abs(predicted - Predictor.load(model, device="cpu").predict(paths)).max() < bound


@pytest.mark.parametrize(
    "label", ["stable", *(pytest.param(name, marks=pytest.mark.thorough) for name in ENCODERS if name != "stable")]
)
def test_onnx_graphs_end_after_the_layer_of_the_head(encoders, tmp_path, label):
    pytest.importorskip("onnxscript")
    made = {head: tmp_path / head for head in ("first-mean", "linear-mean")}
    for head, folder in made.items():
        assert run("export", encoders / "models" / label / head, folder, "--format", "onnx", "--int8") == 0
    predictor = Predictor.load(encoders / "models" / label / "first-mean", device="cpu")
    (_, second, third) = predictor.backbone.module.encoder.layers
    left_out = sum(parameter.numel() for layer in (second, third) for parameter in layer.parameters())
    for file, bytes_each in (("model.onnx", 4), ("model-int8.onnx", 1)):
        first, last = ((folder / file).stat().st_size for folder in made.values())
        assert last - first >= bytes_each * left_out
    predict = runpy.run_path(str(made["first-mean"] / "example.py"))["scores"]
    for clip, expected in zip(paths := list(clip_paths(encoders).iloc[:2]), predictor.predict(paths), strict=True):
        assert predict(read_waveform(Path(clip), 16_000).samples, "model.onnx") == pytest.approx(expected, abs=1e-5)


def test_onnx_is_refused_with_the_reason(everything, tmp_path, capsys):
    pytest.importorskip("onnxscript")
    for name, why in (("mfcc/knn", "a head knn asks its training clips"), ("mfcc/SVC", "is no arithmetic on arrays")):
        assert run("export", everything / "models" / name, tmp_path / "made", "--format", "onnx") == 2
        assert why in capsys.readouterr().err
    assert not any(tmp_path.iterdir()) and len(models_of(everything)) == 22
