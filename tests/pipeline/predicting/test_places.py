"""`predict` on a device: a head behind a backbone, and a network trained end to end, score as on a CPU."""

import numpy as np
import pandas as pd
import pytest

from pipeline.predicting.predictor import Predictor
from tests.pipeline.predicting.conftest import run
from tests.places import DEVICES, at_each

CONFIG = """
name: small
dataset: {{kind: synthetic, root: {root}/audio, clips_per_class: 5, max_duration_s: 0.5, classes: [siren, band_noise]}}
features: {{pooling: [mean, std], backbones: [{{name: logmel}}]}}
heads: [{{name: linear, l2: [1.0e-2]}}]
finetune: [{{name: cnn, epochs: 1, batch_size: 4, channels: [4], threads: 1, precision: fp32}}]
protocol: holdout
seeds: [0]
output: {{cache: {root}/cache, runs: {root}/runs}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run folder of a small experiment, trained on the CPU."""
    pytest.importorskip("lightning")
    root = tmp_path_factory.mktemp("small")
    (root / "small.yaml").write_text(CONFIG.format(root=root))
    for stage in ("features", "train-heads", "finetune"):
        assert run(stage, root / "small.yaml", "--device", "cpu") == 0
    return root / "runs" / "small"


@at_each(*DEVICES)
@pytest.mark.parametrize("model", ["logmel/linear", "cnn"])
def test_a_model_predicts_as_on_a_cpu(trained, there, model):
    (folder,) = [path.parent for path in trained.rglob("predictions.parquet") if model in str(path)]
    manifest = pd.read_csv(trained / "manifest.csv")
    clips = [str(trained / path) for path in manifest["path"]]
    found, expected = (Predictor.load(folder, device=device).predict(clips) for device in (there.device, "cpu"))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert there.pretend is None or there.pretend.ran > 0, "it ran on the device"
