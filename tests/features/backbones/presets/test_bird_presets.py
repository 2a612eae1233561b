"""Perch 2 and BirdNET 2.4: the windows that their files are given. The files of this test are made for it."""

import numpy as np
import pytest
from onnx import helper

from features.backbones import describe, get_record, load
from tests.features.backbones.onnx_files import save
from tests.features.backbones.presets.agreement import agrees

WINDOW, DIM = 160_000, 1536


@pytest.fixture(scope="module")
def perch(tmp_path_factory):
    """A file with the input and the outputs of Perch 2, whose embedding is the window's first samples."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    nodes = [
        helper.make_node("Slice", ["inputs", "start", "stop", "axis"], ["embedding"]),
        helper.make_node("Slice", ["inputs", "start", "few", "axis"], ["label"]),
    ]
    numbers = {"start": 0, "stop": DIM, "axis": 1, "few": 7}
    weights = {name: np.array([value], np.int64) for name, value in numbers.items()}
    outputs = [("label", ["batch", 7]), ("embedding", ["batch", DIM])]
    path = tmp_path_factory.mktemp("perch") / "perch_v2.onnx"
    return save(path, nodes, weights, [("inputs", ["batch", WINDOW])], outputs)


def test_perch_is_given_windows_of_five_seconds_without_mean_and_with_a_peak_of_a_quarter(perch):
    backbone = load({"name": "perch-2", "weights": str(perch)})
    rng = np.random.default_rng(0)
    clip = (0.01 * rng.standard_normal(WINDOW + 4_000) + 0.3).astype(np.float32)
    (frames,) = backbone.embed([clip])
    assert frames.shape == (1, 2, DIM)
    padded = np.pad(clip, (0, WINDOW - 4_000)).reshape(2, WINDOW)
    for own, window in zip(frames[0], padded, strict=True):
        centred = window.astype(np.float64) - window.mean(dtype=np.float64)
        np.testing.assert_allclose(own, (0.25 * centred / np.abs(centred).max())[:DIM], atol=1e-5)
    (quiet,) = backbone.embed([np.zeros(WINDOW, np.float32)])
    assert not quiet.any()  # silence stays silence


def test_perchs_record_is_that_of_its_entry(perch):
    agrees(get_record("perch-2"), describe({"name": "perch-2", "weights": str(perch)}))
    assert get_record("perch-2").entry["weights"] == (
        "hub:justinchuby/Perch-onnx/perch_v2.onnx@da88bf8c37c0b3068fc706fe509f633b9fbd28c1"
    )


def test_birdnets_weights_are_not_for_commercial_use():
    record = get_record("birdnet-2.4")
    assert record.commercial_use is False
    assert record.input.window_samples == record.input.hop_samples == 3 * record.input.sample_rate_hz
