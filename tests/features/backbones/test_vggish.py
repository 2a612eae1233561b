"""VGGish equals torchvggish: its numpy frontend, its network, its postprocessing, its files."""

import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from features.backbones import load
from features.backbones.networks.vggish import CPU_PATCHES
from features.errors import WeightsError

pytestmark = pytest.mark.thorough

PATCH = 15_600  # samples that one patch sees
HOP = 15_360  # samples from patch to patch


@pytest.fixture(scope="module")
def network():
    """torchvggish's network with random weights and non-zero biases."""
    from torchvggish.torchvggish import VGG, make_layers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = VGG(make_layers(), postprocess=False).eval()
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.data.normal_(0.0, 0.02)
    return module


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    """Its weights in both formats; one also contains the postprocessing's parameters."""
    folder = tmp_path_factory.mktemp("vggish")
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.save({**state, "pproc.pca_means": torch.zeros(128, 1)}, folder / "vggish.pth")
    save_file(state, folder / "vggish.safetensors")
    yield folder
    shutil.rmtree(folder)  # they are large


@pytest.fixture(scope="module")
def backbone(weights):
    return load({"name": "vggish", "weights": str(weights / "vggish.pth")})


def reference(network, clip):
    """(F, 128) of one clip by torchvggish's own frontend and network."""
    from torchvggish.vggish_input import waveform_to_examples

    with torch.no_grad():
        return network(waveform_to_examples(clip.astype(np.float64), 16_000)).numpy()


def error(a, b):
    assert a.shape == b.shape
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_a_batch_equals_the_numpy_frontend_and_the_network(backbone, network, make_clips):
    clips = [*make_clips(PATCH, PATCH + HOP, 2 * PATCH, 50_000, 80_000), np.zeros(20_000, np.float32)]
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        expected = reference(network, clip)
        assert error(frames[0], expected) <= 1e-4
        assert np.abs(expected).max() > 1e-3


def test_more_patches_than_go_through_the_convolutions_together(backbone, network, make_clips):
    clips = make_clips((CPU_PATCHES + 3) * HOP + PATCH, PATCH + HOP)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        assert error(frames[0], reference(network, clip)) <= 1e-4


def test_patches_of_one_clip_differ(backbone, make_clips):
    frames = backbone.embed(make_clips(48_000))[0][0]
    assert error(frames[0], frames[1]) > 1e-3


@pytest.mark.parametrize(
    ("samples", "patches"),
    [(1, 1), (PATCH - 1, 1), (PATCH, 1), (PATCH + HOP - 1, 1), (PATCH + HOP, 2), (PATCH + 2 * HOP + 159, 3)],
)
def test_an_incomplete_last_patch_is_dropped_and_a_short_clip_padded_to_one(
    samples, patches, backbone, network, make_clips
):
    (clip,) = make_clips(samples)
    frames = backbone.embed([clip, *make_clips(60_000)])[0][0]
    assert frames.shape == (patches, 128)
    padded = np.pad(clip, (0, max(0, PATCH - samples)))
    assert error(frames, reference(network, padded)) <= 1e-4


def test_either_format_of_the_same_weights_gives_the_same(weights, backbone, make_clips):
    clips = make_clips(16_000, 40_000)
    other = load({"name": "vggish", "weights": str(weights / "vggish.safetensors")})
    for a, b in zip(other.embed(clips), backbone.embed(clips), strict=True):
        assert np.array_equal(a, b)
    assert other.spec.weights_sha256 != backbone.spec.weights_sha256


@pytest.fixture(scope="module", params=["tensors", "numpy"])
def pca(request, weights):
    """Parameters of the postprocessing; the release's file holds numpy arrays."""
    rng = np.random.default_rng(0)
    matrix, means = rng.standard_normal((128, 128)) * 3, rng.uniform(0, 0.1, (128, 1))
    convert = torch.from_numpy if request.param == "tensors" else np.asarray
    file = weights / f"pca-{request.param}.pth"
    torch.save({"pca_eigen_vectors": convert(matrix), "pca_means": convert(means)}, file)
    return file


def test_postprocessing_is_torchvggishs(pca, weights, network, make_clips, monkeypatch):
    from torchvggish import torchvggish

    read = torch.load(pca, weights_only=False)
    monkeypatch.setattr(torchvggish.hub, "load_state_dict_from_url", lambda url: read)
    processor = torchvggish.Postprocessor()
    (clip,) = make_clips(PATCH + 2 * HOP)
    backbone = load(
        {"name": "vggish", "weights": str(weights / "vggish.pth"), "postprocess": True, "pca_weights": str(pca)}
    )
    frames = backbone.embed([clip])[0][0]
    expected = processor.postprocess(torch.from_numpy(reference(network, clip))).numpy()
    assert frames.min() >= 0 and frames.max() <= 255 and np.array_equal(frames, np.round(frames))
    assert np.abs(frames - expected).max() <= 1  # values at the edge of a quantisation step
    assert (frames == expected).mean() > 0.99
    assert len(np.unique(expected)) > 20
    assert backbone.spec.settings["postprocess"] is True
    assert load({"name": "vggish", "weights": str(weights / "vggish.pth")}).spec != backbone.spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings.0.weight": None}, "'embeddings.0.weight' is missing"),
        (
            {"features.3.bias": torch.zeros(3)},
            r"'features.3.bias' has shape \(3,\), expected \(128,\)",
        ),
        ({"classifier.weight": torch.zeros(3)}, "unexpected tensor 'classifier.weight'"),
        ({"features.0.bias": "text"}, "'features.0.bias' is not a tensor"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(change, message, network, tmp_path):
    shapes = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in network.state_dict().items()}
    state = {**shapes, **change}
    file = tmp_path / "other.pth"
    torch.save({name: tensor for name, tensor in state.items() if tensor is not None}, file)
    with pytest.raises(WeightsError, match=message) as caught:
        load({"name": "vggish", "weights": str(file)})
    assert "other.pth" in str(caught.value)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"pca_means": torch.zeros(128)}, "'pca_eigen_vectors' is missing"),
        ({"pca_eigen_vectors": torch.zeros(128, 128), "pca_means": torch.zeros(5)}, r"'pca_means' has shape \(5,\)"),
    ],
)
def test_postprocessing_parameters_that_do_not_fit_are_refused(state, message, weights, tmp_path):
    torch.save(state, tmp_path / "pca.pth")
    options = {"name": "vggish", "weights": str(weights / "vggish.pth"), "postprocess": True}
    with pytest.raises(WeightsError, match=message):
        load({**options, "pca_weights": str(tmp_path / "pca.pth")})


class Bomb:
    """A pickle that makes a folder when it is unpickled freely."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_pickle_with_code_in_it_is_not_run(tmp_path):
    torch.save({"features.0.weight": Bomb(tmp_path / "exploded")}, tmp_path / "bomb.pth")
    with pytest.raises(
        WeightsError, match=r"bomb\.pth: contains more than tensors; unpickling it could run code"
    ) as caught:
        load({"name": "vggish", "weights": str(tmp_path / "bomb.pth")})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("file", ["x.pth", "x.safetensors"])
def test_a_file_of_something_else_is_refused_in_one_line(file, tmp_path):
    (tmp_path / file).write_bytes(b"not weights at all, despite the file's name")
    with pytest.raises(WeightsError, match=rf"{file}: ") as caught:
        load({"name": "vggish", "weights": str(tmp_path / file)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_close(precision, backbone, weights, make_clips):
    clips = make_clips(16_000, 50_000)
    half = load({"name": "vggish", "weights": str(weights / "vggish.pth")}, precision=precision)
    for a, b in zip(half.embed(clips), backbone.embed(clips), strict=True):
        x, y = a.mean(axis=(0, 1)), b.mean(axis=(0, 1))
        assert x @ y / np.linalg.norm(x) / np.linalg.norm(y) >= 0.9995
        assert not np.array_equal(a, b)


def test_everything_follows_the_network_to_another_device_and_nothing_more_is_saved(pca, weights, network):
    options = {"name": "vggish", "weights": str(weights / "vggish.pth"), "postprocess": True, "pca_weights": str(pca)}
    moved = load(options)
    assert set(moved.module.state_dict()) == set(network.state_dict())
    moved.module.to("meta")  # as a training process does with a device other than the first
    assert {part.device.type for part in (moved.window, moved.mel, *moved.pca)} == {"meta"}
    frames = moved.forward(torch.zeros(2, 2 * HOP + PATCH, device="meta"), torch.tensor([PATCH, 2 * HOP + PATCH]))
    assert frames.values.device.type == "meta"
    assert frames.values.shape == (2, 1, 3, 128)
