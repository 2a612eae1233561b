"""Models from outside the project become rows of the table by an entry in the config."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pipeline.config.config import load_config
from tests import processes
from tests.paths import ROOT

GUIDE = (ROOT / "docs" / "guides" / "your-own-model.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.e2e

HEAR_MODULE = """
import torch

class Levels(torch.nn.Module):
    sample_rate, scene_embedding_size, timestamp_embedding_size = 16000, 8, 4

    def __init__(self):
        super().__init__()
        self.bands = torch.nn.Conv1d(1, 4, 320, 160)

def load_model(model_file_path=""):
    torch.manual_seed(0)
    return Levels()

def get_timestamp_embeddings(audio, model):
    frames = model.bands(audio[:, None]).square().add(1e-6).log().transpose(1, 2)
    return frames, (10 + 10 * torch.arange(frames.shape[1])).expand(len(audio), -1)

def get_scene_embeddings(audio, model):
    frames, _ = get_timestamp_embeddings(audio, model)
    return torch.cat([frames.mean(1), frames.std(1)], 1).detach()
"""
NETWORK = """
import torch

def load(width):
    return torch.nn.Sequential(torch.nn.Unflatten(1, (1, -1)), torch.nn.Conv1d(1, width, 400, 200), torch.nn.ReLU(),
                               torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())
"""
CONFIG = """
dataset: {kind: synthetic, root: audio, clips_per_class: 8, max_duration_s: 1.0, classes: [siren, crackle]}
features:
  pooling: [mean]
  backbones:
    - {name: hear, module: my_hear_model, label: levels}
    - {name: hear, module: my_hear_model, embeddings: timestamps, label: levels-sequence}
    - name: python
      label: mine
      callable: my_network:load
      arguments: {width: 6}
      sample_rate_hz: 8000
      weights: random
    - {name: onnx, label: exported, weights: models/mine.onnx, sample_rate_hz: 8000}
heads: [{name: linear}]
output: {cache: cache, runs: runs}
"""


def export_network() -> None:
    """`models/mine.onnx` of the module in `models`."""
    import torch

    sys.path.insert(0, "models")
    import my_network

    torch.manual_seed(1)
    clips = {"dynamic_shapes": ({0: "clips", 1: "samples"},), "input_names": ["waveform"]}
    example = (torch.zeros(2, 8000),)
    torch.onnx.export(my_network.load(width=6).eval(), example, "models/mine.onnx", dynamo=True, verbose=False, **clips)


def audioheads(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, started in a folder."""
    return processes.audioheads(*arguments, cwd=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config in a separate folder with the models next to it, run from the parent folder."""
    root = tmp_path_factory.mktemp("own")
    (root / "models").mkdir()
    (root / "models" / "my_hear_model.py").write_text(HEAR_MODULE)
    (root / "models" / "my_network.py").write_text(NETWORK)
    (root / "models" / "own.yaml").write_text(CONFIG)
    exported = processes.run(export_network, cwd=root)
    assert exported.returncode == 0, exported.stderr
    done = audioheads(root, "run", "models/own.yaml", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    return root


def test_each_is_a_row_of_the_table(folder: Path) -> None:
    table = pd.read_csv(folder / "runs" / "own" / "report" / "results.csv").set_index("model")
    rows = table.drop(index="majority")[["weights", "feature_dim", "family"]].to_dict("index")
    assert rows == {
        "levels": {"weights": "pretrained:my_hear_model", "feature_dim": 8, "family": "frozen"},
        "levels-sequence": {"weights": "pretrained:my_hear_model", "feature_dim": 4, "family": "frozen"},
        "exported": {"weights": "pretrained:mine.onnx", "feature_dim": 6, "family": "frozen"},
        "mine": {"weights": "untrained", "feature_dim": 6, "family": "frozen"},
    }
    assert table["accuracy"]["levels"] > 0.7


def test_again_computes_nothing_until_the_code_changes(folder: Path) -> None:
    again = audioheads(folder, "features", "models/own.yaml", "--device", "cpu", "--dry-run")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("would compute 0 clips") == 4
    network = folder / "models" / "my_network.py"
    network.write_text(NETWORK.replace("ReLU", "GELU"))
    changed = audioheads(folder, "features", "models/own.yaml", "--device", "cpu", "--dry-run")
    network.write_text(NETWORK)
    assert changed.stdout.count("would compute 0 clips") == 3
    assert changed.stdout.count("would compute 16 clips") == 1


def test_a_module_that_is_not_there_is_one_line(folder: Path) -> None:
    wrong = audioheads(folder, "run", "models/own.yaml", "--set", "features.backbones.levels.module=my_hear")
    assert wrong.returncode == 2
    assert "levels: no module 'my_hear', neither installed nor in" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_models_code_runs_only_where_it_is_named(folder: Path) -> None:
    clip = next(iter(sorted((folder / "audio").rglob("*.wav"))))
    model = "runs/own/models/mine/linear"
    refused = audioheads(folder, "predict", model, str(clip), "--device", "cpu")
    assert refused.returncode == 2
    call = "my_network:load with {'width': 6}"
    assert f"{model}: its backbone runs the code of {call}; if you trust it, pass --trust my_network:load" in (
        " ".join(refused.stderr.split())
    )
    done = audioheads(folder, "predict", model, str(clip), "--device", "cpu", "--trust", "my_network:load")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split(",")[1] in ("siren", "crackle")


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(backbones:.*?)```", GUIDE, flags=re.DOTALL))
def test_every_line_in_the_guide_is_a_valid_entry(text: str, tmp_path: Path) -> None:
    config = {"dataset": {"kind": "folder", "root": "clips"}, "features": yaml.safe_load(text)}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert len(load_config(tmp_path / "config.yaml").features.backbones) == len(config["features"]["backbones"])
