"""The contract of every backbone in the table."""

import numpy as np
import pytest
import torch

from features.backbones import BACKBONES, blank, bundle, describe, family_of, load, preset_options
from features.backbones.base import pad
from features.errors import UserError
from features.pooling import POOLINGS, Frames, pool
from tests.features.backbones.contract_cases import (
    CASES,
    DIFFERENTIABLE,
    FIXED_FRONT_END,
    ON_THE_CPU,
    SEEDED,
    TRAINABLE,
)
from tests.places import CPU, DEVICES, GPU, PRETEND, at_each


def test_every_backbone_of_the_table_has_a_case_here():
    assert set(BACKBONES) <= set(CASES)
    assert set(BACKBONES) >= DIFFERENTIABLE


@pytest.fixture(scope="module", params=CASES)
def options(request):
    """An entry of a config."""
    name, chosen = request.param, CASES[request.param]
    if name == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        from tests.features.backbones.onnx_files import convolution

        file = convolution(request.getfixturevalue("tmp_path_factory").mktemp("onnx") / "tiny.onnx")
        chosen = {"weights": str(file), "sample_rate_hz": 16_000}
    elif chosen is None:
        file = str(request.getfixturevalue("yamnet"))
        chosen = {**preset_options("yamnet"), "weights": file}
    return {"name": name, "max_duration_s": 10, **chosen}


@pytest.fixture(scope="module")
def backbone(options, place):
    """The backbone, loaded once for all its tests at a place."""
    if place.name != CPU and family_of(options["name"]) in ON_THE_CPU:
        pytest.skip("computes on the CPU wherever a run is")
    with place:
        return load(options, place.device)


@pytest.fixture(scope="module")
def expected(options, clips):
    """Each clip's frames, computed on the CPU."""
    return load(options).embed(clips)


@pytest.fixture(autouse=True)
def _there(place):
    """Compute at the test's place."""
    with place:
        yield


@pytest.fixture(scope="module")
def clips(backbone, make_clips):
    """Clips from the shortest to some seconds, at the backbone's rate."""
    rate = backbone.spec.sample_rate
    return make_clips(1, 400, rate // 3, rate - 1, rate, 2 * rate + 77, 3 * rate)


@pytest.fixture(scope="module")
def alone(backbone, clips, place):
    """Each clip's frames when nothing else is in its batch."""
    with place:
        return [backbone.embed([clip])[0] for clip in clips]


def error(a, b):
    """Relative error ‖a − b‖/‖b‖ of (L, F, D), the largest over layers."""
    assert a.shape == b.shape
    return max(np.linalg.norm(x - y) / max(np.linalg.norm(y), 1e-12) for x, y in zip(a, b, strict=True))


@at_each(CPU, GPU)
def test_frames_match_the_spec(backbone, clips, alone):
    spec = backbone.spec
    assert (spec.family in BACKBONES) and len(spec.layers) >= 1
    assert spec.layers == tuple(range(len(spec.layers)))
    for clip, frames in zip(clips, alone, strict=True):
        assert frames.dtype == np.float32
        assert np.isfinite(frames).all()
        assert frames.shape[0] == len(spec.layers) and frames.shape[2] == spec.dim and frames.shape[1] >= 1
        seconds = max(len(clip), spec.min_samples) / spec.sample_rate
        assert abs(frames.shape[1] - seconds * spec.frame_rate) <= 1.5  # a window does not end with its hop


@at_each(CPU, GPU)
def test_a_clip_in_a_batch_equals_the_clip_alone(backbone, clips, alone):
    together = backbone.embed(clips)
    assert [error(a, b) <= 1e-5 for a, b in zip(together, alone, strict=True)] == [True] * len(clips)


def test_order_and_other_clips_of_the_batch_do_not_matter(backbone, clips, alone):
    order = [4, 0, 6, 2, 5, 1, 3]
    for chosen in (order, order[:3], [2, 2, 6], [0, 1]):
        batch = backbone.embed([clips[i] for i in chosen])
        assert max(error(frames, alone[i]) for frames, i in zip(batch, chosen, strict=True)) <= 1e-5


@at_each(*DEVICES)
def test_frames_are_those_of_the_cpu(backbone, clips, expected):
    assert max(error(a, b) for a, b in zip(backbone.embed(clips), expected, strict=True)) <= 1e-4


@at_each(PRETEND)
def test_the_host_never_waits_for_the_device(backbone, clips, place):
    waveforms, lengths = pad(clips[2:], backbone.spec.min_samples, pinned=True)
    moved = waveforms.to(place.device, non_blocking=True)
    place.pretend.reset()
    with torch.inference_mode():
        frames = backbone.embed_batch(moved, lengths)
        pool(Frames(frames.values, frames.lengths.to(place.device, non_blocking=True), frames.weights), POOLINGS)
    assert frames.values.is_cuda and not frames.lengths.is_cuda
    assert not place.pretend.shortcuts, "float32 products in TF32"
    assert not place.pretend.waits, place.pretend.waits
    assert place.pretend.pageable == 0


@at_each()
def test_samples_beyond_a_clip_are_ignored(backbone, clips):
    waveforms, lengths = pad(clips[2:5], backbone.spec.min_samples)
    clean = backbone.embed_batch(waveforms, lengths)
    for row, length in enumerate(lengths.tolist()):
        waveforms[row, length:] = 0.7
    dirty = backbone.embed_batch(waveforms, lengths)
    assert torch.equal(clean.lengths, dirty.lengths)
    for row, count in enumerate(clean.lengths.tolist()):
        one, other = (frames.values[row, :, :count].float().cpu().numpy() for frames in (dirty, clean))
        assert error(one, other) <= 1e-5


def test_loaded_again_it_gives_the_same_and_leaves_the_random_state_alone(backbone, clips, options):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = load(options)
    assert torch.equal(torch.rand(3), expected)
    for a, b in zip(again.embed(clips), backbone.embed(clips), strict=True):
        assert np.array_equal(a, b)


@at_each(CPU, GPU)
def test_silence_is_finite_and_the_same_in_a_batch(backbone, clips, alone):
    silence = np.zeros(backbone.spec.sample_rate * 2, np.float32)
    quiet = backbone.embed([silence])[0]
    assert np.isfinite(quiet).all()
    in_company = backbone.embed([clips[6], silence])
    assert error(in_company[1], quiet) <= 1e-5
    assert error(in_company[0], alone[6]) <= 1e-5


def test_a_short_clip_is_padded_to_the_minimum(backbone, clips):
    spec = backbone.spec
    assert spec.min_samples == round(spec.min_duration_s * spec.sample_rate) >= 1
    padded = np.zeros(spec.min_samples, np.float32)
    padded[:1] = clips[0]
    assert error(backbone.embed([clips[0]])[0], backbone.embed([padded])[0]) <= 1e-6


@at_each(CPU, GPU)
def test_a_long_clip_goes_through_in_windows(backbone, make_clips):
    spec = backbone.spec
    assert 0.95 <= spec.max_samples / (10 * spec.sample_rate) <= 1
    (clip,) = make_clips(spec.max_samples + spec.sample_rate // 2, seed=1)
    (short,) = make_clips(spec.sample_rate, seed=2)
    windows = [backbone.embed([part])[0] for part in (clip[: spec.max_samples], clip[spec.max_samples :])]
    embedded = backbone.embed([short, clip])
    assert error(embedded[1], np.concatenate(windows, axis=1)) <= 1e-5
    assert error(embedded[0], backbone.embed([short])[0]) <= 1e-5
    exact = backbone.embed([clip[: spec.max_samples]])[0]
    assert exact.shape == windows[0].shape


def test_what_is_not_a_waveform_is_refused(backbone):
    for bad in (np.zeros(0, np.float32), np.zeros((2, 800), np.float32), np.float32(1)):
        with pytest.raises(ValueError, match="1-D waveform with at least one sample"):
            backbone.embed([bad])
    assert backbone.embed([]) == []


def test_read_only_and_strided_clips_are_taken(backbone, clips):
    frozen = clips[4].copy()
    frozen.setflags(write=False)
    strided = np.repeat(clips[4], 2)[::2]
    for frames in backbone.embed([frozen, strided, clips[4].astype(np.float64)]):
        assert error(frames, backbone.embed([clips[4]])[0]) <= 1e-5


def test_describing_loads_nothing_and_is_deterministic(options, backbone):
    first, second = describe(options), describe(options)
    assert first == second == backbone.spec


@pytest.mark.parametrize("options", SEEDED, indirect=True)
def test_another_seed_is_other_weights(options, backbone, clips):
    other = load({**options, "seed": 1})
    assert other.spec.weights_sha256 != backbone.spec.weights_sha256
    assert error(other.embed(clips[4:5])[0], backbone.embed(clips[4:5])[0]) > 1e-3


def test_networks_that_can_be_trained_are_those_tested_so(request, backbone):
    assert (backbone.module is not None) == (request.node.callspec.params["options"] in TRAINABLE)


@at_each()
@pytest.mark.parametrize("options", TRAINABLE, indirect=True)
def test_forward_is_differentiable(backbone, clips, place):
    waveforms, lengths = pad(clips[3:6], backbone.spec.min_samples)
    waveforms = waveforms.to(place.device)
    waveforms.requires_grad_(backbone.spec.family not in FIXED_FRONT_END)
    pooled = pool(backbone.forward(waveforms, lengths), ["mean"])["mean"]
    pooled[0].square().sum().backward()
    gradients = [p.grad for p in backbone.module.parameters() if p.grad is not None]
    backbone.module.zero_grad()
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    if backbone.spec.family in FIXED_FRONT_END:
        return
    assert waveforms.grad[0, : lengths[0]].abs().sum() > 0
    assert waveforms.grad[0, lengths[0] :].abs().sum() == 0  # padding
    assert waveforms.grad[1:].abs().sum() == 0  # neighbours


OWN_CODE = {"hear", "python"}  # their code is outside the package


def test_a_copy_in_a_folder_embeds_the_same(backbone, options, clips, tmp_path):
    spec = backbone.spec
    if spec.family in OWN_CODE:
        with pytest.raises(UserError, match=f"family {spec.family} cannot be copied"):
            bundle(options, spec, tmp_path / "copy")
        return
    copied = bundle(options, spec, tmp_path / "copy")
    assert bool(copied.files) == (tmp_path / "copy").exists()
    there = {key: str(tmp_path / "copy" / file) for key, file in copied.files.items()}
    copy = load({**options, **copied.options, **there})
    assert copy.spec.layers == spec.layers and not copy.spec.untrained
    for mine, original in zip(copy.embed(clips[1:4]), backbone.embed(clips[1:4]), strict=True):
        assert error(mine, original) < 1e-6


def test_graphs_and_blank_networks_are_of_the_same_architecture(backbone, options, clips):
    graph = backbone.graph()
    if graph is not None:
        clip = torch.from_numpy(clips[-1])[None]
        with torch.no_grad():
            assert error(graph(clip)[0].numpy(), backbone.embed([clips[-1]])[0]) < 1e-4
    if backbone.spec.family in ("wav2vec2", "vggish"):
        network = load({"name": options["name"], **blank(options)})
        own = {name: tensor.shape for name, tensor in backbone.module.state_dict().items()}
        assert {name: tensor.shape for name, tensor in network.module.state_dict().items()} == own
