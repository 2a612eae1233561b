"""ECAPA-TDNN equals the publisher's computation on a file in its format."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from features.backbones import describe, get_record, load
from features.backbones.packages.ecapa import SIZES
from features.backbones.packages.networks.ecapa import EcapaTdnn
from features.errors import WeightsError
from tests.features.backbones.presets.agreement import agrees

RATE = 16_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small checkpoint in the publisher's format, nothing in it at its initial value."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, tensor in EcapaTdnn(*SIZES["tiny"]).state_dict().items():
        values = torch.rand(tensor.shape, generator=generator)
        state[name] = tensor if not tensor.is_floating_point() else values + 0.5 if tensor.ndim == 1 else values - 0.5
    file = tmp_path_factory.mktemp("ecapa") / "embedding_model.ckpt"
    torch.save(state, file)
    return file


def decibels(clip):
    """(M, F) of one clip: SpeechBrain's `Fbank(n_mels=80)`."""
    top = 2595 * np.log10(1 + 8000 / 700)
    hz = 700 * (10 ** (np.linspace(0, top, 82) / 2595) - 1)
    frequencies = np.linspace(0, 8000, 201)
    slope = (frequencies - hz[1:-1, None]) / np.diff(hz)[:-1, None]
    bank = torch.from_numpy(np.maximum(0, np.minimum(slope + 1, 1 - slope)))  # [M, 201]
    window = torch.hamming_window(400, dtype=torch.float64)
    signal = torch.from_numpy(clip).double()
    spectrum = torch.stft(signal, 400, 160, 400, window, center=True, pad_mode="constant", return_complex=True)
    mel = 10 * (bank @ spectrum.abs().square()).clamp(min=1e-10).log10()
    return torch.max(mel, mel.max() - 80)


def by_speechbrain(file, clip):
    """(D,) of one clip in float64: the publisher's `ECAPA_TDNN.forward` on bands without their mean."""
    state = {key: value.double() for key, value in torch.load(file, weights_only=True, map_location="cpu").items()}

    def conv(x, name, dilation=1):
        weight = state[f"{name}.conv.weight"]
        if pad := dilation * (weight.shape[2] - 1) // 2:
            x = F.pad(x, (pad, pad), mode="reflect")
        return F.conv1d(x, weight, state[f"{name}.conv.bias"], dilation=dilation)

    def normed(x, name):
        part = {key: state[f"{name}.norm.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        return F.batch_norm(x, **part)

    def tdnn(x, name, dilation=1):
        return normed(F.relu(conv(x, f"{name}.conv", dilation)), f"{name}.norm")

    x = decibels(clip)[None]
    x = tdnn(x - x.mean(2, keepdim=True), "blocks.0")
    outputs = []
    for number, dilation in enumerate((2, 3, 4), start=1):
        block = f"blocks.{number}"
        parts = list(tdnn(x, f"{block}.tdnn1").chunk(8, dim=1))
        for at in range(1, 8):
            given = parts[at] if at == 1 else parts[at] + parts[at - 1]
            parts[at] = tdnn(given, f"{block}.res2net_block.blocks.{at - 1}", dilation)
        y = tdnn(torch.cat(parts, dim=1), f"{block}.tdnn2")
        squeezed = F.relu(conv(y.mean(2, keepdim=True), f"{block}.se_block.conv1"))
        x = x + y * torch.sigmoid(conv(squeezed, f"{block}.se_block.conv2"))
        outputs.append(x)
    x = tdnn(torch.cat(outputs, dim=1), "mfa")
    mean, std = x.mean(2, keepdim=True), x.std(2, unbiased=False, keepdim=True)
    context = torch.cat([x, mean.expand_as(x), std.expand_as(x)], dim=1)
    attention = conv(torch.tanh(tdnn(context, "asp.tdnn")), "asp.conv").softmax(2)
    mean = (attention * x).sum(2, keepdim=True)
    std = (attention * (x - mean) ** 2).sum(2, keepdim=True).sqrt()
    return conv(normed(torch.cat([mean, std], dim=1), "asp_bn"), "fc")[0, :, 0].numpy()


def test_clips_have_the_publishers_values(checkpoint, make_clips):
    backbone = load({"name": "ecapa-voxceleb", "weights": str(checkpoint), "size": "tiny"})
    clips = make_clips(640, RATE, 2 * RATE + 77)
    clips[2][:RATE] *= 1e-6  # more than 80 dB below the rest
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        expected = by_speechbrain(checkpoint, clip)
        assert frames.shape == (1, 1, *expected.shape) == (1, 1, 12)
        assert np.linalg.norm(frames[0, 0] - expected) / np.linalg.norm(expected) <= 1e-5


def test_a_louder_clip_has_the_same_embedding(checkpoint, make_clips):
    backbone = load({"name": "ecapa-voxceleb", "weights": str(checkpoint), "size": "tiny"})
    (clip,) = make_clips(RATE)
    one, other = backbone.embed([clip, 4 * clip])
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_one_sample_less_than_the_shortest_clip_is_too_short():
    network = EcapaTdnn(*SIZES["tiny"]).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 640)).shape == (1, 12)
        with pytest.raises(RuntimeError, match=r"[Pp]adding size"):
            network(torch.zeros(1, 639))


def test_the_record_is_that_of_the_network():
    record = get_record("ecapa-voxceleb")
    agrees(record, describe({"name": "ecapa-voxceleb", "weights": "random"}))
    with torch.device("meta"):
        network = EcapaTdnn(*SIZES["base"])
    assert record.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_a_file_of_another_size_names_a_tensor(checkpoint):
    with pytest.raises(WeightsError, match=r"^ecapa-voxceleb: .*\.ckpt: does not fit the architecture: '.*'"):
        load({"name": "ecapa-voxceleb", "weights": str(checkpoint)})


def test_a_missing_file_is_one_line_that_says_where_it_is(tmp_path):
    with pytest.raises(WeightsError, match=r"^ecapa-voxceleb: no file '.*'; .*spkrec-ecapa-voxceleb") as caught:
        load({"name": "ecapa-voxceleb", "weights": str(tmp_path / "none.ckpt")})
    assert "\n" not in str(caught.value)
