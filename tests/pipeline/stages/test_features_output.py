"""Lines that stage 1 prints."""

from dataclasses import replace

import pytest

from features.backbones import describe
from pipeline.stages.features_output import licence_note


def test_weights_without_commercial_use_are_noted():
    spec = replace(describe({"name": "mms-300m", "weights": "random"}), weights="facebook/mms-300m")
    expected = "mms-300m: the licence of its weights (cc-by-nc-4.0) does not allow commercial use"
    assert licence_note(spec) == expected
    assert licence_note(replace(spec, label="mine")) == expected.replace("mms-300m:", "mine:")
    assert licence_note(replace(spec, weights="facebook/wav2vec2-base")) is None
    assert licence_note(replace(spec, weights="microsoft/wavlm-base")) is None  # unknown
    assert licence_note(replace(spec, weights="random")) is None


def test_handcrafted_features_without_commercial_use_are_noted():
    pytest.importorskip("opensmile", reason="openSMILE is not installed")
    expected = "egemaps: the licence of its features (audeering-research) does not allow commercial use"
    assert licence_note(describe({"name": "egemaps"})) == expected
