"""ONNX models: the selected tensor, axes, windows, log-mels, and errors that list the model's tensors."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from features.backbones import describe, list_backbones, load
from features.backbones.base import pad
from features.errors import ConfigError, WeightsError
from features.pooling import pool
from features.store.fingerprint import cache_spec, fingerprint
from tests import processes
from tests.features.backbones.onnx_files import bands, convolution, reference

RATE = 16_000
MEL = {"n_fft": 400, "hop_length": 160, "n_mels": 8}


@pytest.fixture
def entry(tmp_path):
    """An entry for the tiny convolution."""
    return {"name": "onnx", "weights": str(convolution(tmp_path / "tiny.onnx")), "sample_rate_hz": RATE}


def by_session(clip, entry, output):
    return reference(clip[None], entry["weights"], output)[0]


def test_frames_are_the_sessions_own_for_each_clip_alone(entry, make_clips):
    backbone = load(entry)
    clips = make_clips(8_000, 16_000, 16_000, 1_600, 40_123)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        np.testing.assert_allclose(frames[0], by_session(clip, entry, "frames"), atol=1e-6)
    assert (backbone.spec.frame_rate, backbone.spec.dim, backbone.spec.layers) == (160, 6, (0,))
    assert backbone.parameters == 6 * 150


@pytest.mark.parametrize(
    ("output", "axes", "shape"),
    [("frames", None, (159, 6)), ("clip", None, (1, 6)), ("hidden", "BDF", (159, 6)), ("wide", "B1D", None)],
)
def test_any_tensor_with_any_axes(entry, output, axes, shape, make_clips):
    options = {**entry, "output": output, "output_axes": axes}
    (clip,) = make_clips(RATE)
    if shape is None:
        with pytest.raises(ConfigError, match=r"dimensions depend on the clip's length: \(L, F, D\) .1, 1, 1600. and "):
            load(options)
        return
    (frames,) = load(options).embed([clip])
    assert frames.shape == (1, *shape)
    expected = by_session(clip, entry, "clip" if output == "clip" else "frames")
    np.testing.assert_allclose(frames[0].reshape(expected.shape), expected, atol=1e-6)


def test_windows_of_fixed_size(tmp_path, make_clips):
    path = convolution(tmp_path / "fixed.onnx", samples=4_000, batch=1)
    entry = {"name": "onnx", "weights": str(path), "sample_rate_hz": RATE, "output": "clip", "hop_samples": 2_000}
    backbone = load({**entry, "window_samples": 4_000})
    clips = make_clips(4_000, 9_000, 300)
    starts = [[0], [0, 2_000, 4_000, 6_000], [0]]
    frames = backbone.embed_batch(*pad(clips, 1))
    assert frames.lengths.tolist() == [1, 4, 1]
    for row, (clip, at) in enumerate(zip(clips, starts, strict=True)):
        windows = [np.pad(clip[s : s + 4_000], (0, max(0, 4_000 - len(clip[s:])))) for s in at]
        expected = np.stack([reference(window[None], path, "clip")[0] for window in windows])
        np.testing.assert_allclose(frames.values[row, 0, : len(at)], expected, atol=1e-6)
    np.testing.assert_allclose(frames.weights[1], [1, 1, 1, 0.75])
    assert backbone.spec.frame_rate == 8


def test_frames_of_windows_join_without_padding(tmp_path, make_clips):
    path = convolution(tmp_path / "fixed.onnx", samples=4_000)
    entry = {"name": "onnx", "weights": str(path), "sample_rate_hz": RATE, "window_samples": 4_000}
    backbone = load(entry)
    clips = make_clips(9_000, 4_000)
    long, full = backbone.embed(clips)
    assert full.shape == (1, 39, 6)
    assert long.shape == (1, 39 + 39 + 10, 6)
    np.testing.assert_allclose(full[0], reference(clips[1][None], path, "frames")[0], atol=1e-6)
    with pytest.raises(ConfigError, match=r"a window yields 39 frames, so hop_samples should be window_samples .4000."):
        describe({**entry, "hop_samples": 2_000})


@pytest.mark.parametrize("shape", [("batch", "frames", 8), ("batch", 8, "frames"), (1, 1, "frames", 8), ("frames", 8)])
def test_log_mels_in_any_layout(shape, tmp_path, make_clips):
    path = bands(tmp_path / "bands.onnx", shape)
    entry = {"name": "onnx", "weights": str(path), "sample_rate_hz": RATE, "mel": MEL}
    axes = {"batch": "B", "frames": "F", 8: "D", 1: "1"}
    entry["output_axes"] = "".join(axes[size] for size in shape).replace("11", "B1")
    backbone, plain = load(entry), load({"name": "logmel", "sample_rate_hz": RATE, **MEL})
    clips = make_clips(RATE, 9_999, RATE)
    for frames, mels in zip(backbone.embed(clips), plain.embed(clips), strict=True):
        np.testing.assert_allclose(frames, np.tanh(mels), atol=1e-6)


def test_log_mels_are_scaled_as_the_model_wants(tmp_path, make_clips):
    path = bands(tmp_path / "bands.onnx")
    mel = {**MEL, "log": "ln", "mean": -10.0, "std": 4.0}
    backbone = load({"name": "onnx", "weights": str(path), "sample_rate_hz": RATE, "mel": mel})
    plain = load({"name": "logmel", "sample_rate_hz": RATE, **MEL, "scale": "power"})
    (clip,) = make_clips(RATE)
    expected = np.tanh((np.log(np.maximum(plain.embed([clip])[0], 1e-10)) + 10) / 4)
    np.testing.assert_allclose(backbone.embed([clip])[0], expected, atol=1e-5)


def test_log_mels_of_a_fixed_number_of_frames(tmp_path, make_clips):
    path = bands(tmp_path / "fixed.onnx", ("batch", 50, 8))
    entry = {"name": "onnx", "weights": str(path), "sample_rate_hz": RATE, "mel": MEL}
    with pytest.raises(ConfigError, match="takes 50 frames, so window_samples should be 8000, got none; inputs: mels"):
        describe(entry)
    (frames,) = load({**entry, "window_samples": 8_000}).embed(make_clips(12_000))
    assert frames.shape == (1, 75, 8)


def test_values_of_one_clip_vector_pool_to_themselves(entry, make_clips):
    backbone = load({**entry, "output": "clip"})
    clips = make_clips(5_000, RATE)
    pooled = pool(backbone.embed_batch(*pad(clips, 1)), ["mean", "std"])
    for row, clip in enumerate(clips):
        np.testing.assert_allclose(pooled["mean"][row, 0], by_session(clip, entry, "clip"), atol=1e-6)
    assert pooled["std"].abs().max() == 0


def test_weights_in_an_external_file_are_part_of_the_digest(tmp_path, entry, make_clips):
    external = {"save_as_external_data": True, "location": "weights.data", "size_threshold": 0}
    path = convolution(tmp_path / "split.onnx", **external)
    split = {**entry, "weights": str(path), "output": "hidden", "output_axes": "BDF"}
    (clip,) = make_clips(RATE)
    np.testing.assert_array_equal(load(split).embed([clip])[0], load(entry).embed([clip])[0])
    before = describe(split).weights_sha256
    data = bytearray((tmp_path / "weights.data").read_bytes())
    data[3] ^= 1
    (tmp_path / "weights.data").write_bytes(data)
    assert describe(split).weights_sha256 != before
    (tmp_path / "deep").mkdir()
    with pytest.raises(WeightsError, match=r"stores its weights in \.\./weights.data, which is not in the same folder"):
        import onnx

        model = onnx.load(str(path), load_external_data=False)
        for tensor in model.graph.initializer:
            for field in tensor.external_data:
                field.value = "../weights.data" if field.key == "location" else field.value
        onnx.save(model, str(tmp_path / "deep" / "split.onnx"))
        describe({**split, "weights": str(tmp_path / "deep" / "split.onnx")})
    (tmp_path / "weights.data").unlink()
    with pytest.raises(WeightsError, match=r"stores its weights in weights.data, which is not in the same folder"):
        describe(split)


def test_what_is_taken_from_the_model_is_in_the_fingerprint(entry):
    prints = {
        fingerprint(cache_spec(describe({**entry, **change}), ["mean"]))
        for change in ({}, {"output": "clip"}, {"output": "hidden", "output_axes": "BDF"}, {"window_samples": 4_000})
    }
    assert len(prints) == 4


PORTS = (
    r"inputs: waveform float \(batch, samples\); outputs: frames float \(batch, frames, 6\), clip float \(batch, 6\)"
)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": "audio"}, ConfigError, f"no input 'audio' in tiny.onnx; {PORTS}"),
        ({"output": "embedding"}, ConfigError, f"no tensor 'embedding' in tiny.onnx; {PORTS}"),
        ({"mel": MEL}, ConfigError, f"set input_axes for input 'waveform'; {PORTS}"),
        ({"input_axes": "B1T"}, ConfigError, f"input_axes 'B1T' do not fit input 'waveform'; {PORTS}"),
        ({"input_axes": "BFM"}, ConfigError, "input_axes 'BFM' do not fit"),
        ({"input_axes": "BQ"}, ConfigError, "input_axes: use each of B, T, F, M at most once, with T or FM"),
        ({"output_axes": "BF"}, ConfigError, "output_axes: use each of B, L, F, D at most once, with D"),
        ({"output_axes": "BLFD"}, ConfigError, "has shape .*: set its axes with output_axes"),
        ({"output": "convolved", "output_axes": "FBD"}, ConfigError, r"has shape .* \(FBD\) for 1 clip"),
        ({"window_samples": 100}, ConfigError, "fails on a window of 100 samples with .*inputs: waveform"),
        ({"hop_samples": 100}, ConfigError, "hop_samples should be at most window_samples .None., got 100"),
        ({"mel": {**MEL, "sample_rate_hz": 8_000}}, ConfigError, "mel.sample_rate_hz should be sample_rate_hz"),
        ({"mel": {**MEL, "log": "log2"}}, ConfigError, "mel.log: "),
        ({"weights": "random"}, ConfigError, "no untrained control"),
        ({"weights": "nowhere.onnx"}, WeightsError, "no file 'nowhere.onnx'; set features.backbones.onnx.weights"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_in_one_line(change, error, message, entry):
    with pytest.raises(error, match=message) as caught:
        describe({**entry, **change})
    assert "onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_file_is_no_onnx_model(tmp_path, entry):
    (tmp_path / "fake.onnx").write_bytes(b"not really" * 10)
    with pytest.raises(WeightsError, match=r"fake\.onnx is not an ONNX model") as caught:
        describe({**entry, "weights": str(tmp_path / "fake.onnx")})
    assert "\n" not in str(caught.value)


def describe_without_onnxruntime(entry: dict) -> None:
    sys.modules["onnxruntime"] = None
    assert any(row["name"] == "onnx" for row in list_backbones())
    describe(entry)


def test_a_missing_onnxruntime_is_one_clear_line(entry):
    done = processes.run(describe_without_onnxruntime, entry)
    assert done.stderr.strip().endswith("onnx: onnxruntime is not installed; pip install 'audioheads[onnx]'")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to count threads")
def test_threads_are_torchs_own(entry):
    started, loaded = [], []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            loaded.append(load(entry))  # other libraries start their threads with the first one
            before = set(os.listdir("/proc/self/task"))  # noqa: PTH208
            loaded.append(load(entry))
            # new ones only: threads of sessions of other tests may end in between, when they are collected
            started.append(len(set(os.listdir("/proc/self/task")) - before))  # noqa: PTH208
    finally:
        torch.set_num_threads(1)
    with_one, with_four = started
    assert with_one == 0, "the calling thread is enough"
    assert with_four > 0 and with_four % 3 == 0, "three more for each session"


@pytest.mark.parametrize(
    ("shape", "n_mels"),
    [(["s", 80, 800], 80), ([1, 800, 80], 80), (["batch", 1, "frames", 128], 128), ([64, 96], 64), ([1, "t", 40], 40)],
)
def test_a_model_of_log_mels_without_mel_is_told_so(tmp_path, shape, n_mels):
    weights = bands(tmp_path / "bands.onnx", shape)
    message = rf"mine: bands.onnx takes log-mels of {n_mels} bands.*`mel: {{n_mels: {n_mels},"
    with pytest.raises(ConfigError, match=message):
        describe({"name": "onnx", "label": "mine", "weights": str(weights), "sample_rate_hz": RATE})


def test_the_advice_for_log_mels_works(tmp_path):
    entry = {"name": "onnx", "weights": str(bands(tmp_path / "bands.onnx", ["s", 8, 80])), "sample_rate_hz": RATE}
    with pytest.raises(ConfigError, match="window_samples should be 12800"):
        describe({**entry, "mel": MEL})
    assert describe({**entry, "mel": MEL, "window_samples": 12_800}).dim == 80
