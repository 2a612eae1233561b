"""A model whose code comes with its weights goes through every stage, where and only where it is trusted."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

from features.backbones import preset_options
from features.errors import UserError
from pipeline.cli.app import app
from tests.features.backbones.published_models import save_published

pytestmark = pytest.mark.e2e

CONFIG = """
dataset: {kind: folder, root: audio}
features:
  pooling: [mean]
  backbones:
    - {name: mfcc}
heads: [{name: linear}]
protocol: kfold
bench: null
"""
INTERFACE = json.dumps(preset_options("ced-tiny")["interface"])
# a small model with the interface of CED, which is not the preset's weights
ENTRY = f"{{name: transformers, label: ced-tiny, weights: models/org/ced, interface: {INTERFACE}}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a corpus, a config with CED's interface, and one without a model with code."""
    folder = tmp_path_factory.mktemp("trusted")
    samples = np.arange(8_000) / 16_000
    rng = np.random.default_rng(0)
    for number in range(6):
        tone = np.sin(2 * np.pi * (600 + 50 * number) * samples)
        clicks = rng.standard_normal(8_000) * (rng.random(8_000) > 0.99)
        for label, clip in (("siren", tone), ("crackle", clicks)):
            (folder / "audio" / label).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / "audio" / label / f"{number}.wav", 0.3 * clip, 16_000)
    (folder / "plain.yaml").write_text(CONFIG)
    (folder / "ced.yaml").write_text(CONFIG.replace("{name: mfcc}", ENTRY))
    return folder


def test_every_stage_asks_for_trust_and_runs_with_it(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    trust = save_published("ced", folder / "models" / "org" / "ced")["trust"]
    clip, model = "audio/siren/0.wav", "runs/ced/models/ced-tiny/linear"

    def run(*arguments):
        done = CliRunner().invoke(app, [*arguments, "--trust", trust])
        assert done.exception is None, done.exception
        return done.output

    def refused(*arguments):
        done = CliRunner().invoke(app, [*arguments])
        assert isinstance(done.exception, UserError), done.output
        message = str(done.exception)
        assert f"--trust {trust}" in message
        assert "\n" not in message
        return message

    def rows(output):
        return [line for line in output.splitlines() if line.startswith(clip)]

    assert "is run only if you trust it: pass --trust" in refused("features", "ced.yaml", "--device", "cpu")
    assert not (folder / "cache").exists()
    assert "12 computed" in run("features", "ced.yaml", "--device", "cpu")
    assert "12 computed" not in run("cache", "explain", "ced.yaml")
    lacking = "ced-tiny: its embeddings were computed by code that was trusted"
    assert lacking in refused("train-heads", "ced.yaml")
    run("train-heads", "ced.yaml", "--device", "cpu")
    assert lacking in refused("report", "ced.yaml")
    for command in ("features", "train-heads"):
        assert CliRunner().invoke(app, [command, "plain.yaml", "--device", "cpu"]).exception is None
    run("report", "ced.yaml", "plain.yaml", "--output", "both")
    table = pd.read_csv(folder / "both" / "results.csv").set_index("model")
    assert table["weights"]["ced-tiny"] == "pretrained:ced"
    assert {"ced-tiny", "mfcc", "majority"} <= set(table.index)

    assert f"{model}: its backbone runs the code of" in refused("predict", model, clip, "--device", "cpu")
    (predicted,) = rows(run("predict", model, clip, "--device", "cpu"))
    assert predicted.split(",")[1] in ("siren", "crackle")

    refused("export", model, "exported", "--no-backbone")
    assert "the largest difference in an output is" in run("export", model, "exported", "--no-backbone")
    weights = ("--weights", "models/org/ced", "--device", "cpu")
    refused("predict", "exported", clip, *weights)
    assert rows(run("predict", "exported", clip, *weights)) == [predicted]

    options = ("--set", "weights=models/org/ced", "--set", f"interface={INTERFACE}")
    check = ("backbones", "check", "transformers", *options, "--device", "cpu")
    refused(*check)
    assert "checks hold" in run(*check)
