"""Dasheng equals the publisher's computation on a file in its format."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from features.backbones import describe, get_record, load
from features.backbones.packages.dasheng import SIZES
from features.backbones.packages.networks.dasheng import Dasheng, PatchEmbedding
from features.backbones.packages.networks.vision_transformer import Block
from features.errors import WeightsError
from tests.features.backbones.packages.timm_blocks import block, normed
from tests.features.backbones.presets.agreement import agrees

RATE = 16_000
N_HEADS, DEPTH = SIZES["tiny"].n_heads, SIZES["tiny"].depth


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small checkpoint in the publisher's format, nothing in it at its initial value."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, tensor in Dasheng(*SIZES["tiny"]).state_dict().items():
        values = torch.rand(tensor.shape, generator=generator)
        state[name] = tensor if not tensor.is_floating_point() else values + 0.5 if tensor.ndim == 1 else values - 0.4
    state |= {"front_end.0.spectrogram.window": torch.hann_window(512), "front_end.0.mel_scale.fb": torch.ones(257, 64)}
    file = tmp_path_factory.mktemp("dasheng") / "dasheng.pt"
    torch.save({"model": state, "config": {"embed_dim": 16, "target_length": 1008}}, file)
    return file


def by_dasheng(file, clip):
    """(F, D) of one clip: the publisher's `Dasheng.forward`, with torchaudio's front end."""
    from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

    state = torch.load(file, weights_only=True, map_location="cpu")["model"]

    mel = MelSpectrogram(
        sample_rate=RATE, n_fft=512, win_length=512, hop_length=160, f_min=0, f_max=8000, n_mels=64, center=True
    )
    x = AmplitudeToDB(top_db=120)(mel(torch.from_numpy(clip)[None]))[:, None]  # [1, 1, M, F]
    batch_norm = {key: state[f"init_bn.1.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
    x = F.batch_norm(x.transpose(1, 2), **batch_norm).transpose(1, 2)
    x = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=(64, 4))
    chunks = []
    for chunk in x.split(1008 // 4, dim=-1):
        x = chunk + state["time_pos_embed"][:, :, :, : chunk.shape[-1]] + state["freq_pos_embed"]
        x = x[0, :, 0].T
        for at in range(DEPTH):
            x = block(state, x, f"blocks.{at}", N_HEADS)
        chunks.append(normed(state, x, "norm"))
    return torch.cat(chunks).numpy()


def test_clips_have_the_publishers_values(checkpoint, make_clips):
    backbone = load({"name": "dasheng-base", "weights": str(checkpoint), "size": "tiny"})
    clips = make_clips(480, RATE, 11 * RATE + 77)  # the last has two chunks
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        expected = by_dasheng(checkpoint, clip)
        assert frames[-1].shape == expected.shape == ((1 + len(clip) // 160) // 4, 16)
        assert np.linalg.norm(frames[-1] - expected) / np.linalg.norm(expected) <= 1e-5


def test_a_quiet_clip_is_the_same_beside_a_loud_one(checkpoint, make_clips):
    backbone = load({"name": "dasheng-base", "weights": str(checkpoint), "size": "tiny"})
    loud, other = make_clips(RATE, RATE)
    quiet = 1e-7 * other
    np.testing.assert_allclose(backbone.embed([100 * loud, quiet])[1], backbone.embed([quiet])[0], rtol=1e-5, atol=1e-5)


def test_one_sample_less_than_the_shortest_clip_is_too_short():
    network = Dasheng(*SIZES["tiny"]).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 480)).shape == (1, 3, 1, 16)
        with pytest.raises(RuntimeError, match=r"[Kk]ernel size"):
            network(torch.zeros(1, 479))


@pytest.mark.parametrize(
    ("name", "size"), [("dasheng-base", "base"), ("dasheng-0.6b", "0.6b"), ("dasheng-1.2b", "1.2b")]
)
def test_the_record_is_that_of_the_network(name, size):
    record = get_record(name)
    agrees(record, describe({"name": name, "weights": "random"}))
    dim, depth, n_heads = SIZES[size]
    with torch.device("meta"):
        parts = [PatchEmbedding(dim), *(Block(dim, n_heads) for _ in range(depth))]
    n_parts = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert record.parameters == n_parts + 2 * 64 + (252 + 1) * dim + 2 * dim


def test_a_file_of_another_size_names_a_tensor(checkpoint):
    with pytest.raises(WeightsError, match=r"^dasheng-base: .*dasheng\.pt: does not fit the architecture: '.*'"):
        load({"name": "dasheng-base", "weights": str(checkpoint)})


def test_a_missing_file_is_one_line_that_says_where_it_is(tmp_path):
    with pytest.raises(WeightsError, match=r"^dasheng-base: no file '.*'; .*zenodo.*") as caught:
        load({"name": "dasheng-base", "weights": str(tmp_path / "none.pt")})
    assert "\n" not in str(caught.value)
