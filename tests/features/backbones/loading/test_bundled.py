"""The bundled model: pretrained, loaded like any local folder, with an untrained control of the same shape."""

import json

import numpy as np
import pytest

from features.backbones import describe, load
from features.backbones.loading.weights import BUNDLED_FOLDER
from features.backbones.wav2vec2_architectures import SIZES
from features.errors import WeightsError
from pipeline.results.table import weights_text

FOLDER = BUNDLED_FOLDER / "wav2vec2-nano"
ENTRY = {"name": "wav2vec2-nano"}


def test_it_is_the_folder_it_comes_in():
    wave = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    bundled, local = load(ENTRY), load({"name": "wav2vec2", "weights": str(FOLDER)})
    assert bundled.spec.weights_sha256 == local.spec.weights_sha256
    assert np.array_equal(bundled.embed([wave])[0], local.embed([wave])[0])
    assert bundled.embed([wave])[0].shape == (7, 49, 192)
    assert not bundled.spec.untrained
    assert weights_text(bundled.spec.weights) == "pretrained:wav2vec2-nano"


def test_it_is_small_and_has_a_model_card():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10e6
    card = (FOLDER / "README.md").read_text()
    assert "license: apache-2.0" in card and "yamnet" in card.lower()


def test_its_untrained_control_has_its_architecture():
    control = describe({**ENTRY, "weights": "random"})
    assert control.untrained
    pretrained = describe(ENTRY)
    for field in ("sample_rate", "layers", "dim", "frame_rate", "min_duration_s"):
        assert getattr(control, field) == getattr(pretrained, field)
    stated = json.loads((FOLDER / "config.json").read_text())
    assert {key: stated[key] for key in SIZES["nano"]} == json.loads(json.dumps(SIZES["nano"]))


def test_no_other_model_comes_with_the_program():
    with pytest.raises(WeightsError, match="only wav2vec2-nano"):
        describe({"name": "wav2vec2", "weights": "bundled:wav2vec2-huge"})
