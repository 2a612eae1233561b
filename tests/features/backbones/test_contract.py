"""The contract of every backbone in the table."""

import numpy as np
import pytest
import torch

from features.backbones import BACKBONES, blank, bundle, describe, family_of, load, preset_options
from features.backbones.base import pad
from features.backbones.contract import checks
from features.backbones.contract.checks import relative_error as error
from features.backbones.contract.clips import make_clips, usual_lengths
from features.backbones.loading.availability import missing_extra
from features.errors import UserError
from features.pooling import POOLINGS, Frames, pool
from tests.features.backbones.contract_cases import (
    CASES,
    DIFFERENTIABLE,
    FIXED_FRONT_END,
    MORE,
    NOT_PRETENDED,
    ON_THE_CPU,
    SEEDED,
    TRAINABLE,
)
from tests.places import CPU, DEVICES, GPU, PRETEND, at_each


def test_every_backbone_of_the_table_has_a_case_here():
    assert set(BACKBONES) <= set(CASES)
    assert set(BACKBONES) >= DIFFERENTIABLE


def marked(names):
    """Cases as parameters of a test."""
    return [pytest.param(name, marks=pytest.mark.thorough if name in MORE else ()) for name in names]


@pytest.fixture(scope="module", params=marked(CASES))
def options(request):
    """An entry of a config."""
    name, chosen = request.param, CASES[request.param]
    if extra := missing_extra(name):
        pytest.skip(f"audioheads[{extra}] is not installed")
    if name == "onnx":
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
    if place.name == PRETEND and family_of(options["name"]) in NOT_PRETENDED:
        pytest.skip("the pretend device cannot run it")
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
def clips(backbone):
    """Clips from the shortest to some seconds, at the backbone's rate."""
    return make_clips(*usual_lengths(backbone.spec.sample_rate))


@pytest.fixture(scope="module")
def subject(backbone, clips, options):
    """What the checks of the contract take."""
    return checks.Subject(backbone, clips, lambda: load(options, str(backbone.device)))


@at_each(CPU, GPU)
def test_frames_match_the_spec(subject):
    assert subject.backbone.spec.family in BACKBONES
    checks.frames_match_the_spec(subject)


@at_each(CPU, GPU)
def test_a_clip_in_a_batch_equals_the_clip_alone(subject):
    checks.a_batch_equals_its_clips_alone(subject)


def test_order_and_other_clips_of_the_batch_do_not_matter(subject):
    checks.order_does_not_matter(subject)


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
def test_samples_beyond_a_clip_are_ignored(subject):
    checks.padding_is_ignored(subject)


def test_loaded_again_it_gives_the_same_and_leaves_the_random_state_alone(subject):
    checks.loaded_again_it_is_the_same(subject)


@at_each(CPU, GPU)
def test_silence_is_finite_and_the_same_in_a_batch(subject):
    checks.silence_is_finite(subject)


def test_a_short_clip_is_padded_to_the_minimum(subject):
    checks.the_shortest_clip_is_padded(subject)


@at_each(CPU, GPU)
def test_a_long_clip_goes_through_in_windows(subject):
    spec = subject.backbone.spec
    assert 0.95 <= spec.max_samples / (10 * spec.sample_rate) <= 1
    checks.the_longest_clip_is_windowed(subject)


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


@pytest.mark.parametrize("options", marked(SEEDED), indirect=True)
def test_another_seed_is_other_weights(options, backbone, clips):
    other = load({**options, "seed": 1})
    assert other.spec.weights_sha256 != backbone.spec.weights_sha256
    assert error(other.embed(clips[4:5])[0], backbone.embed(clips[4:5])[0]) > 1e-3


def test_networks_that_can_be_trained_are_those_tested_so(request, backbone):
    assert (backbone.module is not None) == (request.node.callspec.params["options"] in TRAINABLE)


@at_each()
@pytest.mark.parametrize("options", marked(TRAINABLE), indirect=True)
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
