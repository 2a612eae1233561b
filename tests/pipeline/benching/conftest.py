"""A small run whose models are measured and exported."""

from pathlib import Path

import pytest

from tests.once import made_once
from tests.pipeline.predicting.conftest import trained

BACKBONES = "features.backbones=[{name: mfcc}, {name: wav2vec2, weights: random, size: tiny}]"
HEADS = "heads=[{name: linear, l2: [1.0e-2]}, {name: knn, k: [3]}, {name: attention, units: 4, max_epochs: 2}]"
MODELS = "finetune=[{name: cnn, epochs: 1, batch_size: 8, channels: [4, 8], threads: 1}]"


@pytest.fixture(scope="session")
def measured_run(tmp_path_factory) -> Path:
    """A run of three heads on two backbones and a network, of one fold and seed, with measurements on three clips."""
    pytest.importorskip("lightning")
    sets = (BACKBONES, HEADS, MODELS, "seeds=[0]", "bench.clips=3")
    return made_once(tmp_path_factory, "measured", lambda root: trained(root, *sets)) / "runs" / "small"
