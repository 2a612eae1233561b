"""The faster implementations of single steps give the same results as the plain ones."""

import numpy as np
import pytest
import torch
from torch import nn

from features.backbones import load
from features.backbones.networks.wav2vec2 import (
    group_norm_at_once,
    masked_group_norm,
    normalize,
    normalize_at_once,
    padded_conv1d,
)

LENGTHS = [400, 250, 31]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relative(got, expected):
    return float((got - expected).norm() / expected.norm())


def test_normalising_at_once_is_normalising_clip_by_clip():
    waveforms, lengths = 3 + 2 * random(3, 400), torch.tensor(LENGTHS)
    got = normalize_at_once(waveforms, lengths)
    assert relative(got, normalize(waveforms, lengths)) <= 1e-6
    assert got[1, 250:].abs().max() == 0
    waveforms[1, 250:] = torch.nan
    assert torch.equal(normalize_at_once(waveforms, lengths), got), "padding is ignored"


@pytest.mark.parametrize(("groups", "affine"), [(12, True), (3, True), (1, False)])
def test_group_norm_at_once_is_group_norm_clip_by_clip(groups, affine):
    norm = nn.GroupNorm(groups, 12, affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    hidden = 1 + random(3, 12, 400)
    with torch.no_grad():
        got, expected = group_norm_at_once(hidden, LENGTHS, norm), masked_group_norm(hidden, LENGTHS, norm)
    assert relative(got, expected) <= 1e-6
    assert got[2, :, 31:].abs().max() == 0


@pytest.mark.parametrize("frames", [1, 2, 20, 63, 64, 65, 127, 128, 300])
@pytest.mark.parametrize(("taps", "groups"), [(128, 4), (19, 2)])
def test_taps_that_only_meet_padding_can_be_left_out(frames, taps, groups):
    conv = nn.Conv1d(8, 8, taps, padding=taps // 2, groups=groups)
    inputs = random(2, 8, frames)
    with torch.no_grad():
        got, expected = padded_conv1d(inputs, conv), conv(inputs)
    assert got.shape == expected.shape
    assert relative(got, expected) <= 1e-6


def test_steps_at_once_give_the_same_embeddings(monkeypatch):
    """What a CUDA device does, done on the CPU."""
    backbone = load({"name": "wav2vec2", "weights": "random", "size": "tiny"})
    clips = [random(n, seed=n).numpy() for n in (16_000, 9000, 4000)]
    expected = backbone.embed(clips)
    monkeypatch.setattr("features.backbones.networks.wav2vec2.normalize", normalize_at_once)
    monkeypatch.setattr("features.backbones.networks.wav2vec2.masked_group_norm", group_norm_at_once)
    for got, plain in zip(backbone.embed(clips), expected, strict=True):
        assert np.linalg.norm(got - plain) <= 1e-5 * np.linalg.norm(plain)


@pytest.mark.parametrize("model_type", ["wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech-sat"])
@pytest.mark.parametrize("stable", [False, True])
def test_a_graph_of_the_first_layers_computes_the_same_bits(model_type, stable):
    if stable and model_type == "data2vec-audio":
        pytest.skip("Data2Vec has no variant with layer norm before each layer")
    norms = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"} if stable else {}
    backbone = load(
        {"name": "wav2vec2", "weights": "random", "size": "tiny", "model_type": model_type, "architecture": norms}
    )
    waveform = random(1, 9000)
    with torch.no_grad():
        whole = backbone.graph()(waveform)
        for n_layers in range(1, whole.shape[1] + 1):
            graph = backbone.graph(n_layers)
            assert torch.equal(graph(waveform), whole[:, :n_layers])
            names = [name for name, _ in graph.named_parameters() if name.startswith("layers.layers.")]
            assert len({name.split(".")[2] for name in names}) == n_layers - 1
