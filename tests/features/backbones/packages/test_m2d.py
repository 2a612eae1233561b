"""M2D equals the publisher's computation, on a file in the format of its releases."""

import argparse

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from features.backbones import describe, get_record, load
from features.backbones.contract.checks import relative_error
from features.backbones.packages.m2d import FINE_TUNED, PRESETS, SIZES
from features.backbones.packages.networks.m2d import M2d
from features.errors import WeightsError
from recipes.parity.publishers.m2d import save
from tests.features.backbones.packages.timm_blocks import block, normed
from tests.features.backbones.presets.agreement import agrees

RATE, DIM, HEADS = 16_000, SIZES["tiny"][0], SIZES["tiny"][2]


@pytest.fixture(scope="module")
def network():
    """A small network with seeded weights, nothing at its initial value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = M2d(*SIZES["tiny"])
        for parameter in network.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape)
    network.norm_stats.copy_(torch.tensor([-6.0, 5.0]))
    return network


@pytest.fixture
def checkpoint(network, tmp_path):
    """Its release, which also has what trained it."""
    file = save("m2d", network.state_dict(), tmp_path)
    released = torch.load(file, weights_only=True)
    released["model"] |= {"decoder_embed.weight": torch.ones(2, 2), "target_blocks.0.norm1.weight": torch.ones(2)}
    torch.save({**released, "args": argparse.Namespace(batch_size=64, model="m2d_vit_base")}, file)
    return file


def by_portable_m2d(file, clip):
    """(F, 5 D) of one clip: `PortableM2D.encode`, with librosa for nnAudio and timm's layers written out."""
    import librosa

    state = torch.load(file, weights_only=False)["model"]

    def encoded(x):
        x = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=16)
        x = x.flatten(2).transpose(1, 2)
        frames = x.shape[1] // 5
        x = x + state["pos_embed"][:, 1:].reshape(1, 5, -1, DIM)[:, :, :frames, :].reshape(1, 5 * frames, DIM)
        x = torch.cat((state["cls_token"] + state["pos_embed"][:, :1], x), dim=1)
        x = x[0]
        for name in ("blocks.0", "blocks.1"):
            x = block(state, x, name, HEADS)
        x = normed(state, x, "norm")[1:]
        return x.reshape(5, frames, DIM).transpose(0, 1).reshape(frames, 5 * DIM)

    mel = librosa.feature.melspectrogram(
        y=clip, sr=RATE, n_fft=400, hop_length=160, n_mels=80, fmin=50, fmax=8_000, pad_mode="reflect"
    )
    mean, std = state["norm_stats"]
    x = ((torch.from_numpy(mel) + torch.finfo().eps).log() - mean) / std
    x = F.pad(x, (0, (16 - x.shape[-1] % 608 % 16) % 16))[None, None]
    return torch.cat([encoded(x[..., at : at + 608]) for at in range(0, x.shape[-1], 608)]).numpy()


def test_clips_have_the_publishers_values(checkpoint, make_clips):
    backbone = load({"name": "m2d", "weights": str(checkpoint), "size": "tiny"})
    clips = make_clips(400, RATE + 77, 97_119, 97_280, 8 * RATE)  # one chunk of 608 frames, and a frame more
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        assert relative_error(frames, by_portable_m2d(checkpoint, clip)[None]) <= 1e-5


def test_files_that_were_fine_tuned_or_have_no_statistics_are_read(network, checkpoint, tmp_path, make_clips):
    state = torch.load(checkpoint, weights_only=False)["model"]
    del state["norm_stats"]
    file = tmp_path / "fine-tuned.pth"
    torch.save({FINE_TUNED + name: tensor for name, tensor in state.items()}, file)
    loaded = load({"name": "m2d", "weights": str(file), "size": "tiny"}).module
    np.testing.assert_array_equal(loaded.norm_stats, np.float32([-7.1, 4.2]))
    torch.testing.assert_close(loaded.blocks.state_dict(), network.blocks.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_the_record_is_that_of_the_network(name):
    agrees(get_record(name), describe({"name": name, "weights": "random"}))


def test_the_number_of_parameters_is_that_of_the_network():
    backbone = load({"name": "m2d", "weights": "random"})
    assert {record.parameters for record in PRESETS.values()} == {backbone.parameters}


def test_weights_of_another_size_and_a_missing_file_are_one_line_each(checkpoint, tmp_path):
    asked = r"is this the published file\? The files are at https://github.com/nttcslab/m2d/releases$"
    with pytest.raises(
        WeightsError, match=rf"^m2d-mr6: .*pth: does not fit the architecture: '.*' has shape.*; {asked}"
    ):
        load({"name": "m2d-mr6", "weights": str(checkpoint)})
    with pytest.raises(WeightsError, match=r"^msm-mae: no file '.*'; .*nttcslab/m2d/releases$"):
        describe({"name": "msm-mae", "weights": str(tmp_path / "none.pth")})
