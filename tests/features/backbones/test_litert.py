"""LiteRT models over windows: the right tensor, the right windows, the right weights."""

import warnings

import numpy as np
import pytest
import torch

from features.backbones import describe, load
from features.backbones.adapters.fixed_windows import window_starts
from features.backbones.base import pad
from features.errors import ConfigError, WeightsError
from features.pooling import pool
from tests import processes

SIZE, HOP = 15_600, 7_680


@pytest.fixture
def options(yamnet):
    return {"name": "yamnet", "weights": str(yamnet)}


@pytest.fixture
def reference(yamnet):
    """One window by the interpreter itself."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(str(yamnet), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    tensor = next(d for d in interpreter.get_tensor_details() if d["name"].endswith("layer28/reduce_mean"))

    def run(window):
        padded = np.zeros(SIZE, np.float32)
        padded[: len(window)] = window
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], padded)
        interpreter.invoke()
        scale, zero = tensor["quantization"]
        return (interpreter.get_tensor(tensor["index"]).ravel().astype(np.float32) - zero) * np.float32(scale)

    return run


def test_windows_are_what_the_interpreter_gives_for_each(options, reference, make_clips):
    torch.set_num_threads(2)
    try:
        backbone = load(options)
        clips = make_clips(SIZE, SIZE + HOP, 2 * SIZE, 400, 50_001)
        for clip, frames in zip(clips, backbone.embed(clips), strict=True):
            starts = window_starts(len(clip), SIZE, HOP)
            expected = np.stack([reference(clip[start : start + SIZE]) for start in starts])
            assert frames.shape == (1, len(starts), 1024)
            np.testing.assert_array_equal(frames[0], expected)
        assert np.ptp(frames[0], axis=0).max() > 0.1
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        (1, [0]),
        (SIZE, [0]),
        (SIZE + 1, [0, HOP]),
        (SIZE + HOP, [0, HOP]),
        (SIZE + HOP + 1, [0, HOP, 2 * HOP]),
        (80_000, [*range(0, 64_401, HOP), 9 * HOP]),
    ],
)
def test_every_sample_is_in_a_window_and_none_is_all_padding(length, starts):
    assert window_starts(length, SIZE, HOP) == starts
    assert starts[-1] < length <= starts[-1] + SIZE


def test_the_last_partial_window_weighs_its_share(options, reference, make_clips):
    backbone = load(options)
    long, short = make_clips(SIZE + HOP + 1_000, 3_000)
    frames = backbone.embed_batch(*pad([long, short], backbone.spec.min_samples))
    share = (long.size - 2 * HOP) / SIZE
    np.testing.assert_allclose(frames.weights.numpy(), [[1, 1, share], [3_000 / SIZE, 0, 0]], rtol=1e-6)
    pooled = pool(frames, ["mean", "std"])
    windows = [reference(long[start : start + SIZE]) for start in (0, HOP, 2 * HOP)]
    mean = (windows[0] + windows[1] + share * windows[2]) / (2 + share)
    np.testing.assert_allclose(pooled["mean"][0, 0].numpy(), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pooled["mean"][1, 0].numpy(), reference(short), rtol=1e-5, atol=1e-6)
    assert pooled["std"][1].abs().max() < 1e-5


def test_describing_gives_the_dimensions(options):
    spec = describe(options)
    assert (spec.dim, spec.layers, spec.sample_rate, spec.min_samples) == (1024, (0,), 16_000, 1)
    assert spec.frame_rate == pytest.approx(16_000 / HOP)
    assert spec.settings["tensor"].endswith("layer28/reduce_mean")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tensor": "layer29/reduce_mean"}, ConfigError, "no tensor ends in 'layer29/reduce_mean'"),
        ({"tensor": "embedding"}, ConfigError, r"one vector per window: .*layer28/reduce_mean \(1024\), .*output"),
        ({"tensor": "depthwise"}, ConfigError, r"\d+ tensors end in 'depthwise'"),
        ({"tensor": "layer14/pointwise_conv"}, ConfigError, "no tensor ends"),
        ({"window_samples": 16_000}, ConfigError, "window_samples is 16000, but .* takes 1 input.* of 15600 float32"),
        ({"hop_samples": 15_601}, ConfigError, "hop_samples: should be at most window_samples .15600., got 15601"),
        ({"weights": "nowhere/yamnet.tflite"}, WeightsError, "no file 'nowhere/yamnet.tflite'; set features.backbones"),
        ({"weights": "random"}, ConfigError, "no untrained control"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_in_one_line(change, error, message, options):
    with pytest.raises(error, match=message) as caught:
        describe({**options, **change})
    assert "yamnet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tensor_that_is_no_vector_is_refused(options, yamnet):
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(str(yamnet)).get_tensor_details()
    grid = next(d["name"] for d in details if d["name"].endswith("Relu6") or "Relu6;" in d["name"])
    with pytest.raises(ConfigError, match="not one vector per window"):
        describe({**options, "tensor": grid})


def test_another_file_is_no_litert_model(options, tmp_path):
    (tmp_path / "fake.tflite").write_bytes(b"TFL3 but not really" * 10)
    with pytest.raises(WeightsError, match=r"fake\.tflite is not a LiteRT model") as caught:
        describe({**options, "weights": str(tmp_path / "fake.tflite")})
    assert "\n" not in str(caught.value)


def test_describing_prints_nothing(options):
    run = processes.run(describe, options)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
