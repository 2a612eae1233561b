"""CNN14 of PANNs equals the publisher's computation on a file in its format."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from features.backbones import get_record, load
from features.backbones.packages.networks.cnn14 import CHANNELS, Cnn14
from features.backbones.packages.panns import CHANNELS as SIZES
from features.errors import WeightsError
from tests.features.backbones.presets.agreement import agrees

RATE = 32_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small checkpoint in the publisher's format, nothing in it at its initial value."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, tensor in Cnn14(SIZES["tiny"]).state_dict().items():
        values = torch.rand(tensor.shape, generator=generator)
        state[name] = tensor if not tensor.is_floating_point() else values + 0.5 if tensor.ndim == 1 else values - 0.4
    state |= {
        "spectrogram_extractor.stft.conv_real.weight": torch.zeros(513, 1, 1024),
        "fc_audioset.bias": torch.ones(527),
    }
    file = tmp_path_factory.mktemp("panns") / "Cnn14.pth"
    torch.save({"iteration": 9, "model": state}, file)
    return file


def by_panns(file, clip):
    """(D,) of one clip: the publisher's `Cnn14.forward`, with librosa for torchlibrosa."""
    import librosa

    state = torch.load(file, weights_only=True, map_location="cpu")["model"]

    def normed(values, name):
        part = {key: state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        return F.batch_norm(values, **part)

    mel = librosa.feature.melspectrogram(
        y=clip, sr=RATE, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14_000, pad_mode="reflect"
    )
    decibels = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)
    x = torch.from_numpy(decibels.T.copy())[None, None].float()  # [1, 1, F, M]
    x = normed(x.transpose(1, 3), "bn0").transpose(1, 3)
    for number in range(1, 7):
        for half in (1, 2):
            x = F.conv2d(x, state[f"conv_block{number}.conv{half}.weight"], padding=1)
            x = F.relu(normed(x, f"conv_block{number}.bn{half}"))
        x = F.avg_pool2d(x, 1 if number == 6 else 2)
    x = x.mean(3)
    x = x.max(2).values + x.mean(2)
    return F.relu(F.linear(x, state["fc1.weight"], state["fc1.bias"]))[0].numpy()


def test_clips_have_the_publishers_values(checkpoint, make_clips):
    backbone = load({"name": "panns-cnn14", "weights": str(checkpoint), "size": "tiny"})
    clips = make_clips(9_920, RATE, 2 * RATE + 77)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        expected = by_panns(checkpoint, clip)
        assert np.abs(expected).max() > 0
        assert np.linalg.norm(frames[0, 0] - expected) / np.linalg.norm(expected) <= 1e-5


def test_one_sample_less_than_the_shortest_clip_is_too_short(checkpoint):
    network = Cnn14(SIZES["tiny"]).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 9_920)).shape == (1, 16)
        with pytest.raises(RuntimeError, match="too small"):
            network(torch.zeros(1, 9_919))


def test_the_record_is_that_of_the_network():
    from features.backbones import describe

    record = get_record("panns-cnn14")
    agrees(record, describe({"name": "panns-cnn14", "weights": "random"}))
    with torch.device("meta"):
        n_conv = sum(
            9 * (n_in * n_out + n_out**2) + 4 * n_out for n_in, n_out in zip((1, *CHANNELS), CHANNELS, strict=False)
        )
    assert record.parameters == n_conv + 2 * 64 + 2048**2 + 2048


def test_a_missing_file_is_one_line_that_says_where_it_is(tmp_path):
    with pytest.raises(WeightsError, match=r"^panns-cnn14: no file '.*'; .*zenodo.*") as caught:
        load({"name": "panns-cnn14", "weights": str(tmp_path / "none.pth")})
    assert "\n" not in str(caught.value)
