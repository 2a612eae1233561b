"""Small trained models of every kind, trained once, and a helper to run the command line."""

from pathlib import Path

import pytest

from pipeline.cli.app import main
from tests.once import made_once

CONFIG = """
name: small
dataset:
  {{kind: synthetic, root: {root}/audio, clips_per_class: 8, max_duration_s: 1.0, classes: [siren, warble, band_noise]}}
features:
  pooling: [mean, std, frames]
  frame_dtype: float16
  backbones:
    - {{name: mfcc}}
    - {{name: wav2vec2, weights: random, size: tiny}}
heads:
  - {{name: linear, l2: [1.0e-2]}}
  - {{name: mlp, hidden: [8], max_epochs: 3}}
  - {{name: linear, label: linear-mean, pooling: [mean], l2: [1.0e-2]}}
  - {{name: knn, k: [3]}}
  - {{name: weighted-sum, max_epochs: 2}}
  - {{name: attention, units: 4, max_epochs: 2}}
  - {{name: layer-attention, units: 4, max_epochs: 2}}
  - {{name: sklearn, estimator: sklearn.svm.SVC}}
finetune:
  - {{name: m5, epochs: 1, batch_size: 8, channels: [8, 8, 8, 8], threads: 1}}
  - {{name: cnn, epochs: 1, batch_size: 8, channels: [4, 8], threads: 1}}
  - {{name: crnn, epochs: 1, batch_size: 8, channels: [4], hidden: 8, threads: 1}}
  - {{name: resnet18, epochs: 1, batch_size: 8, weights: none, image_size: 32, threads: 1}}
  - {{name: wav2vec2, weights: random, size: tiny, epochs: 1, batch_size: 8, threads: 1}}
  - {{name: vggish, weights: random, epochs: 1, batch_size: 16, threads: 1, duration_s: 1.0}}
protocol: {protocol}
seeds: [0, 1]
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


def run(*arguments: object) -> int:
    """Run a command line and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def trained(root: Path, *sets: str, protocol: str = "holdout") -> Path:
    """Run an experiment with `CONFIG` and return the run folder."""
    path = root / "small.yaml"
    path.write_text(CONFIG.format(root=root, protocol=protocol))
    assert run("run", path, "--device", "cpu", *(part for text in sets for part in ("--set", text))) == 0
    return root / "runs" / "small"


@pytest.fixture(scope="session")
def everything(tmp_path_factory) -> Path:
    """A run with every kind of head and end-to-end model; one fold, one seed."""
    pytest.importorskip("lightning")
    pytest.importorskip("torchvision")
    return made_once(tmp_path_factory, "everything", lambda root: trained(root, "seeds=[0]")) / "runs" / "small"


@pytest.fixture(scope="session")
def folds(tmp_path_factory) -> Path:
    """A run of one quick head over five folds and two seeds."""
    heads = "heads=[{name: mlp, hidden: [8], max_epochs: 3}]"
    backbones = "features.backbones=[{name: mfcc}]"
    sets = (heads, backbones, "finetune=[]")
    return made_once(tmp_path_factory, "folds", lambda root: trained(root, *sets, protocol="kfold")) / "runs" / "small"
