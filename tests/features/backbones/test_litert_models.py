"""LiteRT models beyond float windows: int8 inputs, several layers, normalised windows."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
from features.backbones import describe, load
from features.backbones.networks.litert import quantised
from features.errors import ConfigError
from tests.features.backbones.litert_files import SIZE, by_hand, save_int8


@pytest.fixture
def entry(tmp_path):
    """Both layers of the quantised model."""
    return {
        "name": "litert",
        "weights": str(save_int8(tmp_path / "tiny.tflite")),
        "tensor": ["net/first", "net/second"],
        "sample_rate_hz": 8_000,
        "window_samples": SIZE,
        "hop_samples": SIZE,
    }


@pytest.fixture
def clip():
    """Two and a half windows, some samples beyond the range of the quantised input."""
    return np.random.default_rng(1).uniform(-1.4, 1.4, 80).astype(np.float32)


def windows_of(clip):
    return np.pad(clip, (0, 3 * SIZE - len(clip))).reshape(3, SIZE)


def test_int8_windows_and_layers_are_those_worked_out_by_hand(entry, clip):
    backbone = load(entry)
    assert (backbone.spec.layers, backbone.spec.dim, backbone.parameters) == ((0, 1), 5, 5 * SIZE + 25)
    frames = backbone.embed([clip])[0]
    expected = np.stack([by_hand(window) for window in windows_of(clip)], axis=1)
    np.testing.assert_allclose(frames, expected, atol=1 / 32 + 1e-6)  # one step: ties round either way
    assert np.mean(np.abs(frames - expected) < 1e-6) > 0.9
    assert np.ptp(frames[1]) > 0


def test_windows_are_normalised_before_they_are_quantised(entry, clip):
    frames = load({**entry, "window_mean": "remove", "window_peak": 0.25}).embed([clip])[0]
    windows = windows_of(clip)
    centred = windows - windows.mean(axis=1, keepdims=True)
    scaled = centred / np.abs(centred).max(axis=1, keepdims=True) * 0.25
    expected = np.stack([by_hand(window) for window in scaled], axis=1)
    np.testing.assert_allclose(frames, expected, atol=1 / 32 + 1e-6)
    assert np.abs(frames - load(entry).embed([clip])[0]).max() > 0.1


def test_one_tensor_is_one_layer_with_the_settings_of_before(entry):
    spec = describe({**entry, "tensor": "second"})
    assert spec.layers == (0,)
    assert spec.settings == {"tensor": "net/second", "window_samples": SIZE, "hop_samples": SIZE}


def test_quantising_rounds_and_clips():
    samples = np.array([0.0, 0.0039, 0.004, -0.5, 1.0, -2.0], np.float32)
    assert quantised(samples, np.int8, 1 / 128, 0).tolist() == [0, 0, 1, -64, 127, -128]
    assert quantised(samples, np.uint8, 1 / 128, 128).tolist() == [128, 128, 129, 64, 255, 0]
    assert quantised(samples, np.float16, 0.0, 0).dtype == np.float16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"window_samples": 16, "hop_samples": 16},
            r"window_samples is 16, but tiny.tflite takes .* of 32 int8",
        ),
        ({"tensor": ["net/first", "samples"]}, "need the same number of dimensions, got net/first 5, samples 32"),
        ({"tensor": []}, r"tensor: should be a name or a list of different names, got \[\]"),
        ({"window_peak": 0.25, "window_rms": 0.1}, "set one of them"),
    ],
)
def test_what_does_not_fit_is_one_line(entry, change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        describe({**entry, **change})
    assert "\n" not in str(caught.value)
