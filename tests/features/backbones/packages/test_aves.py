"""AVES equals torchaudio's HuBERT, which its package runs, on a file as it is published."""

import pytest
import torch

from features.backbones import describe, get_record, load
from features.backbones.contract.checks import relative_error
from features.backbones.packages.aves import PRESETS
from features.errors import WeightsError
from recipes.parity.publishers.aves import CONFIG
from tests.features.backbones.presets.agreement import agrees

TINY = {
    **CONFIG,
    "extractor_conv_layer_config": [
        (64, kernel, stride) for _, kernel, stride in CONFIG["extractor_conv_layer_config"]
    ],
    "encoder_embed_dim": 96,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 3,
    "encoder_num_heads": 4,
    "encoder_ff_interm_features": 192,
}
WEIGHT_NORM = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


@pytest.fixture(scope="module")
def network():
    """torchaudio's network, small, with seeded weights, nothing in it at its initial value."""
    from torchaudio.models import wav2vec2_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = wav2vec2_model(**TINY, aux_num_out=None).eval()
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape)
    return network


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    """The network's weights in a file with the published names, those of torch before 2.0."""
    state = network.state_dict()
    for new, old in WEIGHT_NORM.items():
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    file = tmp_path_factory.mktemp("aves") / "aves-base-tiny.torchaudio.pt"
    torch.save(state, file)
    return file


def test_every_layer_of_a_batch_is_that_of_torchaudio_for_each_clip_alone(network, checkpoint, make_clips):
    backbone = load({"name": "aves", "weights": str(checkpoint), "size": "tiny"})
    clips = make_clips(400, 719, 16_000, 40_077)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        with torch.inference_mode():
            layers, _ = network.extract_features(torch.from_numpy(clip)[None])
        assert relative_error(frames[1:], torch.cat(layers).numpy()) <= 1e-5


@pytest.mark.parametrize("name", PRESETS)
def test_the_record_is_that_of_the_network(name):
    agrees(get_record(name), describe({"name": name, "weights": "random"}))


@pytest.mark.parametrize("name", ["aves-core", "birdaves-biox-large"])
def test_the_number_of_parameters_is_that_of_the_network(name):
    with torch.device("meta"):
        assert get_record(name).parameters == load({"name": name, "weights": "random"}, "meta").parameters


def test_a_file_of_a_model_of_another_size_is_one_line(checkpoint):
    with pytest.raises(WeightsError, match=r"^aves-bio: .*pt: does not fit the architecture: '.*' has shape"):
        load({"name": "aves-bio", "weights": str(checkpoint)})


def test_a_missing_file_and_a_pointer_are_one_line_each(tmp_path):
    with pytest.raises(WeightsError, match=r"^aves-bio: no file '.*'; .*github.com/earthspecies/aves$") as caught:
        load({"name": "aves-bio", "weights": str(tmp_path / "none.pt")})
    assert "\n" not in str(caught.value)
    pointer = tmp_path / "aves-base-bio.torchaudio.pt"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(WeightsError, match=r"^aves-bio: .* is a pointer of Git LFS.* run `git lfs pull`"):
        load({"name": "aves-bio", "weights": str(pointer)})
