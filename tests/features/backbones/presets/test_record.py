"""Records of presets: complete, consistent with the networks, and about known corpora."""

from dataclasses import replace

import pytest

from features.backbones import get_record, names, parse_options, preset_options, presets, record_of_weights
from features.backbones import transformers as transformers_family
from features.backbones import wav2vec2 as wav2vec2_family
from features.backbones.presets.corpora import CORPORA
from features.backbones.presets.record import InputContract, Preset
from tests.features.backbones.presets.agreement import agrees

ENCODERS = [name for name, family in presets().items() if family == "wav2vec2"]
OTHERS = [
    name
    for name, family in presets().items()
    if family == "transformers" and not get_record(name).needs_trust  # their architecture is known to their code only
]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("name", ENCODERS)
def test_the_record_of_an_encoder_is_that_of_its_network(name):
    from features.backbones import describe

    spec = describe({"name": name, "weights": "random"})
    agrees(get_record(name), spec)
    assert get_record(name).input.sample_rate_hz / get_record(name).input.hop_samples == spec.frame_rate
    assert get_record(name).input.normalisation.startswith("zero mean") is spec.settings["normalize"]


@pytest.mark.thorough
@pytest.mark.parametrize("name", OTHERS)
def test_the_record_of_another_encoder_is_that_of_its_network(name):
    from features.backbones import describe

    agrees(get_record(name), describe({"name": name, "weights": "random"}))


@pytest.mark.thorough
@pytest.mark.parametrize("name", [*ENCODERS, *OTHERS])
def test_the_number_of_parameters_is_that_of_the_network(name):
    import torch

    options = parse_options({"name": name, "weights": "random"})
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        if name in ENCODERS:
            module = wav2vec2_family._random_module(options)
        else:
            encoder = transformers_family._found(options)
            module = encoder.build().get_submodule(encoder.part)
    assert get_record(name).parameters == sum(parameter.numel() for parameter in module.parameters())


def test_corpora_of_records_are_known_and_licences_are_judged():
    for name in names():
        record = get_record(name)
        if record is None:
            continue
        assert set(record.trained_on or ()) <= set(CORPORA)
        assert record.licence is None or record.commercial_use is not None
        assert record.trained_on == () or record.citation


def test_a_revision_pins_the_weights_and_is_a_commit():
    preset = Preset(weights="org/model", revision=COMMIT, options={"size": "base"})
    assert preset.entry == {"weights": f"org/model@{COMMIT}", "size": "base"}
    assert replace(preset, revision=None).entry["weights"] == "org/model"
    for moving in ("main", "v1.0", COMMIT[:7], COMMIT.upper()):
        with pytest.raises(ValueError, match=f"revision should be a commit of 40 hex digits, got '{moving}'"):
            replace(preset, revision=moving)


def test_what_is_not_known_stays_unknown():
    assert Preset().trained_on is None
    assert Preset(pretrained_on=("LibriSpeech",), finetuned_on=None).trained_on is None
    assert Preset(pretrained_on=("A", "B"), finetuned_on=("B", "C")).trained_on == ("A", "B", "C")
    assert [Preset(licence=licence).commercial_use for licence in ("mit", "cc-by-nc-4.0", "my own", None)] == [
        True,
        False,
        None,
        None,
    ]
    assert InputContract(16_000, 400, 160, 0.1).channels == 1


def test_weights_have_their_record_under_any_name_and_no_other_weights_have_it():
    base = get_record("wav2vec2-base")
    pinned = preset_options("wav2vec2-base")["weights"]
    for name in ("wav2vec2-base", "wav2vec2", "mine"):
        assert record_of_weights(name, pinned) is base
        assert record_of_weights(name, "facebook/wav2vec2-base") is base
    assert record_of_weights("wav2vec2-nano", "wav2vec2-nano") is get_record("wav2vec2-nano")
    assert record_of_weights("yamnet", "somewhere/yamnet.tflite") is get_record("yamnet")
    assert record_of_weights("mfcc", "none") is get_record("mfcc")
    for name, weights in (
        ("wav2vec2-base", "random"),
        ("wav2vec2-base", "my/folder"),
        ("yamnet", "other.tflite"),
        ("vggish", "finetuned.pth"),
        ("onnx", "model.onnx"),
        ("resnet18", "IMAGENET1K_V1"),
    ):
        assert record_of_weights(name, weights) is None
