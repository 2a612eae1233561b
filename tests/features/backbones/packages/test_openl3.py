"""OpenL3 equals the computation of torchopenl3, on a file as it is published."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from features.backbones import describe, get_record, load
from features.backbones.contract.checks import relative_error
from features.backbones.golden.clips import golden_clips
from features.backbones.packages.networks.openl3 import OpenL3, centred_windows
from features.backbones.packages.openl3 import CHANNELS, PRESETS
from features.errors import WeightsError
from tests.features.backbones.presets.agreement import agrees

RATE = 48_000


def seeded_file(folder, representation, dim):
    """A small checkpoint with the published names, nothing in it at its initial value but the mel bands."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, tensor in OpenL3(representation, dim, CHANNELS["tiny"]).state_dict().items():
        values = torch.rand(tensor.shape, generator=generator)
        fixed = "mel_basis" in name or not tensor.is_floating_point()
        state[name] = tensor if fixed else values + 0.5 if tensor.ndim == 1 else values - 0.45
    state |= {f"speclayer.dft_{part}_kernels": torch.zeros(1025, 1, 2048) for part in ("real", "imag")}
    file = folder / f"torchopenl3_{representation}_env_{dim}.pth.tar"
    torch.save(state, file)
    return file, state


def by_torchopenl3(state, representation, dim, clip):
    """(F, D) of one clip: `preprocess_audio_batch` and `PytorchOpenl3.forward`, in float64."""
    state = {name: tensor.double() for name, tensor in state.items()}
    n_fft, padding, pooling = {
        ("linear", 512): (512, 0, (32, 24)),
        ("mel128", 6144): (2048, 982, (4, 8)),
        ("mel256", 512): (2048, 982, (32, 24)),
    }[representation, dim]
    audio = np.pad(clip.astype(np.float64), (24_000, 0))
    missing = 48_000 - len(audio) if len(audio) < 48_000 else -(len(audio) - 48_000) % 4_800
    audio = torch.from_numpy(np.pad(audio, (0, missing)))
    windows = [audio[at : at + 48_000] for at in range(0, len(audio) - 48_000 + 1, 4_800)]
    phases = 2 * np.pi * torch.outer(torch.arange(n_fft // 2 + 1), torch.arange(n_fft)).double() / n_fft
    hann = torch.hann_window(n_fft, dtype=torch.float64)
    x = F.pad(torch.stack(windows)[:, None], (padding, padding))
    parts = [F.conv1d(x, (kernel * hann)[:, None], stride=242) for kernel in (phases.cos(), -phases.sin())]
    power = parts[0] ** 2 + parts[1] ** 2
    magnitude = (power if representation == "linear" else state["speclayer.mel_basis"] @ power).sqrt()
    decibels = 10 * magnitude.clamp(min=1e-10).log10()
    x = (decibels - decibels.amax((1, 2), keepdim=True)).clamp(min=-80)[:, None]

    def normed(values, number):
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(values, **{key: state[f"batch_normalization_{number}.{key}"] for key in keys}, eps=0.001)

    x = normed(x, 1)
    for number in range(1, 8):
        weight, bias = state[f"conv2d_{number}.weight"], state[f"conv2d_{number}.bias"]
        x = F.relu(normed(F.conv2d(x, weight, bias, padding=1), number + 1))
        x = F.max_pool2d(x, 2) if number in (2, 4, 6) else x
    x = F.conv2d(x, state["audio_embedding_layer.weight"], state["audio_embedding_layer.bias"], padding=1)
    return F.max_pool2d(x, pooling).permute(0, 2, 3, 1).reshape(len(x), -1).numpy()


@pytest.mark.parametrize(("representation", "dim"), [("linear", 512), ("mel128", 6144), ("mel256", 512)])
def test_clips_have_the_publishers_values(representation, dim, tmp_path, make_clips):
    file, state = seeded_file(tmp_path, representation, dim)
    chosen = {"input_repr": representation, "embedding_size": dim, "size": "tiny"}
    backbone = load({"name": "openl3", "weights": str(file), **chosen})
    chirp = golden_clips(RATE)[0]  # without noise, so that most values are far below the loudest
    clips = [*make_clips(1, 24_000, 24_001, RATE + 77), chirp]
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        expected = by_torchopenl3(state, representation, dim, clip)
        assert expected.shape[1] == dim // 32
        assert relative_error(frames, expected[None]) <= 1e-5


def test_windows_are_centred_on_their_times():
    windows = centred_windows(torch.ones(28_800), 4_800)
    assert windows.shape == (2, 48_000)
    assert windows.sum(1).tolist() == [24_000, 28_800]
    assert centred_windows(torch.ones(24_000), 4_800).shape == (1, 48_000)


def test_windows_may_be_further_apart(make_clips):
    options = {"name": "openl3", "weights": "random", "size": "tiny"}
    (every,), (some,) = (load({**options, "hop_s": hop}).embed(make_clips(2 * RATE)) for hop in (0.1, 0.5))
    assert (every.shape[1], some.shape[1]) == (16, 4)
    np.testing.assert_allclose(some, every[:, ::5], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", PRESETS)
def test_the_record_is_that_of_the_network(name):
    record = get_record(name)
    agrees(record, describe({"name": name, "weights": "random"}))
    with torch.device("meta"):
        network = OpenL3("mel256", record.dim)
    assert record.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_a_file_of_another_spectrogram_and_a_missing_file_are_one_line_each(tmp_path):
    file, _ = seeded_file(tmp_path, "mel128", 512)
    message = (
        r"'speclayer.mel_basis' has shape \(128, 1025\), expected \(256, 1025\); is this the published file\? "
        r"The files are at https://github.com/torchopenl3/torchopenl3-models$"
    )
    with pytest.raises(WeightsError, match=message):
        load({"name": "openl3-env", "weights": str(file), "size": "tiny"})
    with pytest.raises(WeightsError, match=r"^openl3-env: no file '.*'; .*torchopenl3-models$"):
        describe({"name": "openl3-env", "weights": str(tmp_path / "none.pth.tar")})
