"""BEATs loads files as they are published, and its parts are those of the publisher's code."""

import math

import numpy as np
import pytest
import torch

from features.backbones import describe, get_record, load
from features.backbones.contract.checks import relative_error
from features.backbones.packages.beats import PRESETS
from features.backbones.packages.networks.beats import TINY, Attention, Beats, position_buckets
from features.errors import WeightsError
from recipes.parity.publishers.beats import CONFIG, save
from tests.features.backbones.presets.agreement import agrees

TINY_CONFIG = {
    **CONFIG,
    "encoder_layers": TINY.layers,
    "encoder_embed_dim": TINY.dim,
    "encoder_attention_heads": TINY.heads,
    "encoder_ffn_embed_dim": TINY.hidden,
    "embed_dim": TINY.patch_dim,
    "conv_pos_groups": TINY.groups,
}


@pytest.fixture(scope="module")
def state():
    """Seeded weights of a small network, nothing at its initial value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return {name: tensor + 0.1 * torch.randn(tensor.shape) for name, tensor in Beats(TINY).state_dict().items()}


def test_a_published_file_gives_every_tensor_to_the_network(state, tmp_path, make_clips):
    file = save("beats", state, tmp_path, TINY_CONFIG)
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["model"] |= {"predictor.weight": torch.ones(527, 48), "predictor.bias": torch.ones(527)}
    torch.save(checkpoint, file)
    backbone = load({"name": "beats", "weights": str(file), "size": "tiny"})
    network = Beats(TINY).eval()
    network.load_state_dict(state)
    for clip in make_clips(2_800, 16_000, 40_077):
        with torch.inference_mode():
            expected = network(torch.from_numpy(clip)[None])[0].numpy()
        assert relative_error(backbone.embed([clip])[0], expected) <= 1e-6
        assert expected.shape == (3, 8 * (((len(clip) - 400) // 160 + 1) // 16), 48)


def test_attention_is_the_publishers():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        attention = Attention(TINY)
        attention.grep_a.data += torch.randn(attention.grep_a.shape)
        hidden, bias = torch.randn(2, 9, TINY.dim), torch.randn(TINY.heads, 9, 9)
    scaling, alpha, shape = (TINY.dim // TINY.heads) ** -0.5, 32, (9, 2 * TINY.heads, TINY.dim // TINY.heads)
    # `MultiheadAttention.forward` of backbone.py, time first
    query = hidden.transpose(0, 1)
    q = (attention.q_proj(query) * scaling / alpha).reshape(shape).transpose(0, 1)
    k = attention.k_proj(query).reshape(shape).transpose(0, 1)
    v = attention.v_proj(query).reshape(shape).transpose(0, 1)
    weights = torch.bmm(q, k.transpose(1, 2))
    weights = (weights - weights.max(dim=-1, keepdim=True)[0]) * alpha
    layer = q.view(2, TINY.heads, 9, -1) * alpha / scaling
    gates = torch.sigmoid(attention.grep_linear(layer).view(2, TINY.heads, 9, 2, 4).sum(-1))
    gate_a, gate_b = gates.chunk(2, dim=-1)
    gate = gate_a * (gate_b * attention.grep_a - 1.0) + 2.0
    relative = gate.view(2 * TINY.heads, 9, 1) * bias.repeat(2, 1, 1)
    attended = torch.bmm(torch.softmax(weights + relative, dim=-1), v)
    expected = attention.out_proj(attended.transpose(0, 1).reshape(9, 2, TINY.dim)).transpose(0, 1)
    torch.testing.assert_close(attention(hidden, bias), expected, rtol=1e-5, atol=1e-6)


def test_distances_share_buckets_as_the_publishers_do():
    n = 900
    buckets = position_buckets(n, torch.device("cpu"))
    for distance, expected in ((0, 0), (79, 79), (80, 80), (799, 159), (899, 159)):
        assert buckets[distance, 0] == expected
        assert buckets[0, distance] == (expected + 160 if distance else 0)
    for distance in (100, 250, 500):
        expected = 80 + int(math.log(distance / 80) / math.log(800 / 80) * 80)
        assert buckets[distance, 0] == expected


def test_the_filter_bank_is_that_of_torchaudio(make_clips):
    from torchaudio.compliance import kaldi

    (clip,) = make_clips(9_000)
    waveform = torch.from_numpy(clip)[None]
    expected = kaldi.fbank(waveform * 2**15, num_mel_bins=128, sample_frequency=16_000, frame_length=25, frame_shift=10)
    with torch.inference_mode():
        bank = Beats(TINY).filter_bank(waveform)[0]
    np.testing.assert_allclose(bank, expected, atol=1e-3)


@pytest.mark.parametrize("name", PRESETS)
def test_the_record_is_that_of_the_network(name):
    agrees(get_record(name), describe({"name": name, "weights": "random"}))


def test_the_number_of_parameters_is_that_of_the_network():
    backbone = load({"name": "beats-iter1", "weights": "random"})
    assert {record.parameters for record in PRESETS.values()} == {backbone.parameters}


def test_settings_of_another_network_and_a_missing_file_are_one_line_each(state, tmp_path):
    file = save("beats", state, tmp_path, {**TINY_CONFIG, "max_distance": 1_280})
    with pytest.raises(WeightsError, match=r"beats.pt: cfg.max_distance is 1280, expected 800: another architecture$"):
        load({"name": "beats", "weights": str(file), "size": "tiny"})
    file = save("beats", state, tmp_path, {**TINY_CONFIG, "encoder_attention_heads": 12})
    with pytest.raises(WeightsError, match=r"^beats-iter3: .* '.*' has shape .*, expected"):
        load({"name": "beats-iter3", "weights": str(file)})
    with pytest.raises(WeightsError, match=r"^beats-iter3: no file '.*'; .*microsoft/unilm.*beats$"):
        describe({"name": "beats-iter3", "weights": str(tmp_path / "none.pt")})
