"""ONNX models beyond one float output: normalised windows, several layers, float16, quantised weights, guesses."""

import logging

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
import onnx
from onnx import helper, numpy_helper

from features.backbones import describe, load
from features.backbones.networks import onnx_model
from features.errors import ConfigError
from features.store.fingerprint import cache_spec, fingerprint
from tests.features.backbones.onnx_files import convolution, reference, save

RATE, SIZE = 32_000, 3_200
PERCH = {"window_mean": "remove", "window_peak": 0.25}


@pytest.fixture
def echo(tmp_path):
    """A model whose embedding is its input window."""
    nodes = [helper.make_node("Identity", ["inputs"], ["embedding"])]
    ports = [("inputs", ["batch", SIZE])], [("embedding", ["batch", SIZE])]
    return {
        "name": "onnx",
        "weights": str(save(tmp_path / "echo.onnx", nodes, {}, *ports)),
        "sample_rate_hz": RATE,
        "window_samples": SIZE,
    }


def perch_hoplite(window):
    """`normalize_audio` of perch-hoplite with a target peak of 0.25, for one window that is not silent."""
    centred = window - np.mean(window)
    return centred / np.max(np.abs(centred)) * 0.25


def test_windows_are_normalised_as_for_perch(echo, make_clips):
    backbone = load({**echo, **PERCH})
    long, short = make_clips(2 * SIZE, 900)
    frames = backbone.embed([long, short])
    for at, window in enumerate((long[:SIZE], long[SIZE:])):
        np.testing.assert_allclose(frames[0][0, at], perch_hoplite(window), atol=1e-6)
        assert np.abs(frames[0][0, at]).max() == pytest.approx(0.25)
        assert frames[0][0, at].mean() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(frames[1][0, 0], perch_hoplite(np.pad(short, (0, SIZE - 900))), atol=1e-6)
    silence = backbone.embed([np.zeros(SIZE, np.float32)])[0]
    assert np.array_equal(silence, np.zeros_like(silence))


def test_the_network_sees_the_normalised_windows(tmp_path, make_clips):
    path = convolution(tmp_path / "fixed.onnx", samples=4_000)
    entry = {"name": "onnx", "weights": str(path), "sample_rate_hz": RATE, "output": "clip", "window_samples": 4_000}
    (clip,) = make_clips(4_000)
    np.testing.assert_allclose(
        load({**entry, **PERCH}).embed([clip])[0][0, 0],
        reference(perch_hoplite(clip)[None].astype(np.float32), path, "clip")[0],
        atol=1e-6,
    )
    plain = load(entry).embed([clip])[0][0, 0]
    np.testing.assert_allclose(plain, reference(clip[None], path, "clip")[0], atol=1e-6)


def test_a_model_of_any_length_is_normalised_clip_by_clip(tmp_path, make_clips):
    path = convolution(tmp_path / "tiny.onnx")
    backbone = load({"name": "onnx", "weights": str(path), "sample_rate_hz": RATE, "window_rms": 0.1})
    for clip, frames in zip(clips := make_clips(9_000, 9_000, 5_000), backbone.embed(clips), strict=True):
        scaled = (clip * 0.1 / np.sqrt(np.mean(np.square(clip)))).astype(np.float32)
        np.testing.assert_allclose(frames[0], reference(scaled[None], path, "frames")[0], atol=1e-5)


def test_normalisation_changes_the_fingerprint_and_its_absence_does_not(echo):
    plain, normalised = describe(echo), describe({**echo, **PERCH})
    assert not {"window_mean", "window_peak", "window_rms"} & set(plain.settings)
    assert {**plain.settings, **PERCH} == normalised.settings
    assert fingerprint(cache_spec(plain, ["mean"])) != fingerprint(cache_spec(normalised, ["mean"]))


def test_several_outputs_are_layers_in_their_order(tmp_path, make_clips):
    path = convolution(tmp_path / "tiny.onnx")
    entry = {"name": "onnx", "weights": str(path), "sample_rate_hz": RATE, "output_axes": "BDF"}
    backbone = load({**entry, "output": ["convolved", "hidden"]})
    assert (backbone.spec.layers, backbone.spec.dim) == ((0, 1), 6)
    assert backbone.spec.settings["output"] == ["convolved", "hidden"]
    (clip,) = make_clips(9_000)
    frames = backbone.embed([clip])[0]
    np.testing.assert_allclose(np.tanh(frames[0]), frames[1], atol=1e-6)
    hidden = load({**entry, "output": "hidden"})
    assert hidden.spec.settings["output"] == "hidden"
    np.testing.assert_array_equal(hidden.embed([clip])[0][0], frames[1])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (["frames", "clip"], r"need the same \(frames, dimensions\), got frames \(\d+, 6\), clip \(1, 6\)"),
        (["frames", "nothing"], "no tensor 'nothing' in tiny.onnx; inputs: waveform"),
        (["frames", "frames"], "output: should be a name or a list of different names"),
        ([], r"output: should be a name or a list of different names, got \[\]"),
    ],
)
def test_outputs_that_cannot_be_layers_are_one_line(output, message, tmp_path):
    path = convolution(tmp_path / "tiny.onnx")
    with pytest.raises(ConfigError, match=message) as caught:
        describe({"name": "onnx", "weights": str(path), "sample_rate_hz": RATE, "output": output})
    assert "\n" not in str(caught.value)


def typed(path, input_type, nodes, weights):
    """A model (batch, 320) -> (batch, 4) with an input of some type."""
    ports = [
        helper.make_tensor_value_info("samples", input_type, ["batch", 320]),
        helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["batch", 4]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "typed", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return {"name": "onnx", "weights": str(path), "sample_rate_hz": 8_000, "window_samples": 320}


def test_float16_inputs_and_weights(tmp_path, make_clips):
    matrix = np.random.default_rng(0).standard_normal((320, 4)).astype(np.float16)
    nodes = [
        helper.make_node("MatMul", ["samples", "matrix"], ["half"]),
        helper.make_node("Cast", ["half"], ["embedding"], to=onnx.TensorProto.FLOAT),
    ]
    backbone = load(typed(tmp_path / "half.onnx", onnx.TensorProto.FLOAT16, nodes, {"matrix": matrix}))
    (clip,) = make_clips(320)
    expected = clip.astype(np.float16).astype(np.float32) @ matrix.astype(np.float32)
    np.testing.assert_allclose(backbone.embed([clip])[0][0, 0], expected, rtol=0.02, atol=0.02)
    assert backbone.parameters == 320 * 4


def test_quantised_weights_are_used_and_counted(tmp_path, make_clips):
    matrix = np.random.default_rng(0).integers(-127, 128, (320, 4)).astype(np.int8)
    weights = {"matrix": matrix, "step": np.float32(1 / 128), "zero": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["matrix", "step", "zero"], ["float_matrix"]),
        helper.make_node("MatMul", ["samples", "float_matrix"], ["embedding"]),
    ]
    backbone = load(typed(tmp_path / "int8.onnx", onnx.TensorProto.FLOAT, nodes, weights))
    (clip,) = make_clips(320)
    expected = clip @ (matrix / np.float32(128))
    # onnxruntime may compute such products with integers
    np.testing.assert_allclose(backbone.embed([clip])[0][0, 0], expected, atol=0.02)
    assert backbone.parameters == 320 * 4 + 1, "the matrix and the step, not the zero point"


def test_windows_of_a_dynamically_quantised_model_do_not_depend_on_each_other(tmp_path, make_clips):
    matrix = np.random.default_rng(0).integers(-127, 128, (320, 4)).astype(np.int8)
    nodes = [  # the step of the samples is computed from all samples of a call
        helper.make_node("DynamicQuantizeLinear", ["samples"], ["integers", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["integers", "matrix", "zero"], ["product"]),
        helper.make_node("Cast", ["product"], ["float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["embedding"]),
    ]
    entry = typed(tmp_path / "dynamic.onnx", onnx.TensorProto.FLOAT, nodes, {"matrix": matrix})
    backbone = load(entry)
    assert backbone.spec.settings["batched"] is False
    quiet, loud = make_clips(320)[0] * 0.01, make_clips(640, seed=1)[0] * 3
    together, alone = backbone.embed([quiet, loud]), backbone.embed([quiet])[0]
    np.testing.assert_array_equal(together[0], alone)
    np.testing.assert_array_equal(together[1][:, :1], backbone.embed([loud[:320]])[0])
    assert np.abs(alone).max() > 0


def test_a_quantised_input_is_refused(tmp_path):
    nodes = [
        helper.make_node("Cast", ["samples"], ["float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("MatMul", ["float", "matrix"], ["embedding"]),
    ]
    entry = typed(tmp_path / "int.onnx", onnx.TensorProto.INT8, nodes, {"matrix": np.ones((320, 4), np.float32)})
    with pytest.raises(ConfigError, match="input 'samples' is not floating point, and ONNX does not state how samples"):
        describe(entry)


def test_guesses_are_logged_once_and_stated_axes_are_not(tmp_path, caplog):
    onnx_model._say.cache_clear()
    entry = {"name": "onnx", "weights": str(convolution(tmp_path / "tiny.onnx")), "sample_rate_hz": RATE}
    with caplog.at_level(logging.INFO, logger="features"):
        describe({**entry, "label": "mine"})
        describe({**entry, "label": "mine"})
    assert [record.message for record in caplog.records] == [
        "mine: input 'waveform' (batch, samples) is read as (clips, samples); set input_axes if this is wrong",
        "mine: output 'frames' is read as (clips, frames, dimensions); set output_axes if this is wrong",
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="features"):
        describe({**entry, "input_axes": "BT", "output_axes": "BFD"})
    assert caplog.records == []
