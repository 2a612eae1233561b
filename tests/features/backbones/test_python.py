"""Networks by import path: all output shapes, batches equal to single clips, and a digest that detects changes."""

import textwrap

import numpy as np
import pytest
import torch

from features.backbones import describe, load
from features.errors import ConfigError, RunError, WeightsError
from features.store.fingerprint import cache_spec, fingerprint

pytestmark = pytest.mark.thorough

NETWORKS = """
import numpy as np
import torch
from torch import nn

from {helper} import WIDTH


class Convolution(nn.Module):
    def __init__(self, width=WIDTH, norm=False):
        super().__init__()
        self.convolution = nn.Conv1d(1, width, 400, 160)
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.dropout = nn.Dropout(0.5)

    def forward(self, waveforms):
        return self.dropout(self.norm(self.convolution(waveforms[:, None]))).transpose(1, 2)


class Mean(Convolution):
    def forward(self, waveforms):
        return super().forward(waveforms).mean(1)


class Layers(Convolution):
    def forward(self, waveforms):
        frames = super().forward(waveforms)
        return torch.stack([frames, frames.tanh(), frames.square()], 1)


class BatchMean(Convolution):
    def forward(self, waveforms):
        frames = super().forward(waveforms)
        return frames - frames.mean(0)


def frames(weights=None, **options):
    network = Convolution(**options)
    if weights is not None:
        network.load_state_dict(torch.load(weights, weights_only=True))
    return network

def mean():
    return Mean()

def layers():
    return Layers()

def leaky():
    return BatchMean()

def energies():
    return lambda waveforms: np.stack([waveforms.mean(1), waveforms.std(1)], 1)

def fixed():
    return nn.Sequential(nn.Unflatten(1, (1, -1)), nn.AdaptiveAvgPool1d(4), nn.Flatten())

def unseeded():
    network = Convolution()
    network.convolution.bias.data[0] = np.random.default_rng().uniform()
    return network

def restless():
    return lambda waveforms: waveforms[:, :2] + np.random.default_rng().uniform()

def whole_numbers():
    return lambda waveforms: (waveforms[:, :3] > 0).astype("int64")

def nothing():
    return None

def fails():
    raise OSError("no such table\\nand more")

def fails_later():
    def embed(waveforms):
        if waveforms.shape[1] == 12_345:
            raise ValueError("too odd")
        return waveforms[:, :2]
    return embed

class Inner:
    @staticmethod
    def make():
        return Convolution()
"""
CASES = ("frames", "mean", "layers", "leaky", "energies")


@pytest.fixture
def entry(tmp_path, request):
    """Make an entry for a function of a module that no other test has."""
    module = "net_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(NETWORKS.format(helper=f"{module}_helper")))
    (tmp_path / f"{module}_helper.py").write_text("WIDTH = 12\n")

    def make(function, **options):
        callable_ = f"{module}:{function}"
        return {"name": "python", "callable": callable_, "folder": str(tmp_path), "sample_rate_hz": 16000, **options}

    return make


@pytest.mark.parametrize("function", CASES)
def test_a_clip_in_a_batch_equals_the_clip_alone(entry, function, make_clips):
    backbone = load(entry(function))
    clips = make_clips(3_000, 16_000, 7_777, 16_000, 1_600)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        alone = backbone.embed([clip])[0]
        assert frames.shape == alone.shape
        np.testing.assert_allclose(frames, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "layers", "dim", "rate"),
    [("frames", 1, 12, 100), ("mean", 1, 12, 0.1), ("layers", 3, 12, 100), ("energies", 1, 2, 0.1)],
)
def test_the_layout_is_inferred_from_the_output_shape(entry, function, layers, dim, rate, make_clips):
    spec = describe(entry(function))
    assert (len(spec.layers), spec.dim) == (layers, dim)
    assert spec.frame_rate == pytest.approx(rate, rel=0.02)
    (frames,) = load(entry(function)).embed(make_clips(16_000))
    assert frames.shape == (layers, 98 if rate == 100 else 1, dim)


def test_values_are_the_networks_own(entry, make_clips):
    backbone = load(entry("layers"))
    (clip,) = make_clips(9_000)
    with torch.no_grad():
        expected = backbone.module(torch.from_numpy(clip)[None])[0]
    np.testing.assert_array_equal(backbone.embed([clip])[0], expected.numpy())
    assert not backbone.module.training


def test_a_network_that_mixes_clips_gets_them_one_by_one(entry):
    assert describe(entry("leaky")).settings["batched"] is False
    assert describe(entry("frames")).settings["batched"] is True


def test_vectors_of_long_clips_count_by_their_windows_length(entry, make_clips):
    from features.pooling import Moments

    backbone = load(entry("mean", max_duration_s=10))
    (clip,) = make_clips(200_000)
    parts = [clip[:160_000], clip[160_000:]]
    moments = [
        Moments.of(backbone.embed_batch(torch.from_numpy(part)[None], torch.tensor([len(part)])), ["mean"])
        for part in parts
    ]
    joined = moments[0].join(moments[1]).pooled("mean")[0]
    vectors = [backbone.embed([part])[0][:, 0] for part in parts]
    np.testing.assert_allclose(joined, (vectors[0] * 160_000 + vectors[1] * 40_000) / 200_000, rtol=1e-4, atol=1e-6)


def test_weights_are_handed_to_the_function_and_hashed(entry, tmp_path):
    network = load(entry("frames")).module
    state = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    torch.save(state, tmp_path / "net.pt")
    options = entry("frames", weights=str(tmp_path / "net.pt"))
    loaded = load(options)
    assert torch.equal(loaded.module.state_dict()["convolution.bias"], state["convolution.bias"])
    assert loaded.spec.weights_sha256 != describe(entry("frames")).weights_sha256
    assert loaded.spec.weights == options["weights"]
    assert describe(entry("frames")).weights == entry("frames")["callable"]


def test_a_module_without_parameters_has_no_weights(entry):
    assert describe(entry("fixed")).weights == "none"


def test_random_weights_are_the_untrained_control(entry):
    first = describe(entry("frames", weights="random"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)  # nothing that was drawn before matters
        again, other = (describe(entry("frames", weights="random", seed=seed)) for seed in (0, 1))
    assert first.untrained
    assert first == again
    assert first.weights_sha256 != other.weights_sha256


def test_the_fingerprint_covers_source_helpers_arguments_and_weights(entry, tmp_path):
    options = entry("frames")
    before = fingerprint(cache_spec(describe(options), ["mean"]))
    assert fingerprint(cache_spec(describe(options), ["mean"])) == before
    seen = {before, fingerprint(cache_spec(describe({**options, "arguments": {"norm": True}}), ["mean"]))}
    seen.add(fingerprint(cache_spec(describe({**options, "seed": 1}), ["mean"])))
    (source,) = (path for path in tmp_path.glob("net_*.py") if not path.stem.endswith("_helper"))
    for path in (source, source.with_name(f"{source.stem}_helper.py")):
        path.write_text(path.read_text() + "\n# changed\n")
        seen.add(fingerprint(cache_spec(describe(options), ["mean"])))
    assert len(seen) == 5


def test_loading_refuses_weights_that_differ_each_time(entry):
    options = entry("unseeded")
    with pytest.raises(WeightsError, match="weights differ each time it is loaded"):
        load(options)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"callable": "frames"}, ConfigError, "should be module:function, such as my_network:load, got 'frames'"),
        ({"callable": "no_such_net:load"}, ConfigError, "no module 'no_such_net', neither installed nor in /"),
        ({"folder": None, "callable": "json:loads"}, WeightsError, r"json:loads\(\) fails with TypeError: "),
        ({"callable": "json:loads"}, ConfigError, "the module 'json' found is .*, not one in "),
        ({"function": "frame"}, ConfigError, "has no 'frame'; it has Convolution, .*frames"),
        ({"function": "torch"}, ConfigError, "is a module, not a function"),
        ({"function": "nothing"}, ConfigError, "returned a NoneType; it should return a torch module"),
        ({"function": "fails"}, WeightsError, r"fails with OSError: no such table$"),
        ({"function": "frames", "arguments": {"widht": 3}}, WeightsError, "unexpected keyword argument 'widht'"),
        ({"function": "restless"}, ConfigError, "returns different values for the same clip"),
        ({"function": "whole_numbers"}, ConfigError, "returned int64 of shape .*; should be floating point"),
        (
            {"function": "frames", "min_duration_s": 0.01},
            ConfigError,
            "fails on 0.01 s .*raise min_duration_s",
        ),
        ({"function": "frames", "weights": "nowhere.pt"}, WeightsError, "no file 'nowhere.pt'; set features.backbones"),
        ({"function": "frames", "sample_rate_hz": 10}, ConfigError, "sample_rate_hz: "),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(entry, change, error, message):
    options = {**entry(change.get("function", "frames")), **{k: v for k, v in change.items() if k != "function"}}
    with pytest.raises(error, match=message) as caught:
        describe(options)
    assert "python" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_clip_on_which_the_network_fails_is_named(entry, make_clips):
    backbone = load(entry("fails_later"))
    with pytest.raises(RunError, match=r"python: the model fails on 1 clip\(s\) of 0.77 s with ValueError: too odd"):
        backbone.embed(make_clips(12_345))


def test_a_method_can_be_named_too(entry):
    assert describe(entry("Inner.make")).dim == 12
