"""Presets of models with code to trust, on small models with the interfaces of their publishers."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from features.backbones import describe, get_record, load
from features.backbones.contract.checks import Subject, run_checks
from features.backbones.contract.clips import make_clips, usual_lengths
from features.errors import UserError, WeightsError
from tests.features.backbones.loading.loopback_hub import COMMITS, environment_of, hub
from tests.features.backbones.published.feature_extraction_ced import CedFeatureExtractor
from tests.features.backbones.published.feature_extractor import BirdMAEFeatureExtractor
from tests.features.backbones.published_models import published_model, save_published

EMBED = """
import json, sys
import numpy as np
from features.backbones import load
print(load(json.loads(sys.argv[1])).embed([np.ones(16_000, np.float32)])[0].shape)
"""
PRESETS = {"ced-tiny": "ced", "bird-mae-base": "bird_mae", "usad-base": "usad"}


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """An entry of each preset, with a small model."""
    folder = tmp_path_factory.mktemp("hub")
    return {preset: {"name": preset, **save_published(name, folder / "org" / name)} for preset, name in PRESETS.items()}


def published(preset, clip):
    """Compute the layers (L, F, D) of a clip as the publishers' model cards and examples do."""
    model = published_model(PRESETS[preset])
    with torch.inference_mode():
        if preset == "ced-tiny":
            states = model(CedFeatureExtractor(f_max=8000)(clip)["input_values"]).hidden_states
            return states[0].unflatten(0, (4, -1)).mean(0)[None].numpy()
        if preset == "bird-mae-base":
            return model(BirdMAEFeatureExtractor()(clip)).last_hidden_state[None].numpy()
        return torch.cat(model(torch.from_numpy(clip)[None])["hidden_states"]).numpy()


@pytest.mark.parametrize("preset", PRESETS)
def test_frames_are_those_of_the_publishers_code(preset, entries):
    backbone = load(entries[preset])
    rate = backbone.spec.sample_rate
    clips = make_clips(rate // 2, rate, 4 * rate + 123)
    for clip, values in zip(clips, backbone.embed(clips), strict=True):
        expected = published(preset, clip)
        assert values.shape == expected.shape
        np.testing.assert_allclose(values, expected, atol=2e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_record_is_that_of_the_interface(preset, entries):
    spec, record = describe(entries[preset]), get_record(preset)
    assert record.needs_trust
    assert "trust" not in record.entry
    assert spec.sample_rate == record.input.sample_rate_hz
    assert spec.frame_rate == pytest.approx(record.input.sample_rate_hz / record.input.hop_samples, rel=2e-3)
    assert spec.min_duration_s == record.input.shortest_s
    assert spec.max_duration_s == pytest.approx(record.input.longest_s)
    assert len(spec.layers) == (3 if preset == "usad-base" else record.layers)


def test_ced_never_gets_an_input_that_its_code_splits(entries):
    backbone = load(entries["ced-tiny"])
    assert 1 + backbone.spec.max_samples // 160 == 1012
    (clip,) = make_clips(backbone.spec.max_samples)
    assert backbone.embed([clip])[0].shape == (1, 63, 12)
    with_more = describe({**entries["ced-tiny"], "max_duration_s": 60.0})
    assert with_more.max_samples == backbone.spec.max_samples


def test_parts_of_a_window_of_bird_mae_count_by_their_length(entries):
    backbone = load(entries["bird-mae-base"])
    clips = [torch.from_numpy(clip) for clip in make_clips(32_000, 160_000)]
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    frames = backbone.forward(padded, torch.tensor([32_000, 160_000]))
    assert frames.values.shape == (2, 1, 1, 12)
    assert frames.weights.flatten().tolist() == pytest.approx([0.2, 1.0])


def test_the_classifier_of_ced_is_not_needed_but_its_encoder_is(entries, tmp_path):
    entry = entries["ced-tiny"]
    state = torch.load(f"{entry['weights']}/pytorch_model.bin", weights_only=True)
    folder = tmp_path / "org" / "ced"
    entry = {**entry, **save_published("ced", folder)}
    torch.save({key: value for key, value in state.items() if "outputlayer" not in key}, folder / "pytorch_model.bin")
    load(entry)
    del state["encoder.norm.bias"]
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"does not fit the architecture: 'encoder\.norm\.bias' is missing"):
        load(entry)


@pytest.mark.parametrize(
    ("preset", "change", "message"),
    [
        ("ced-tiny", {"config": {}}, "class_labels_indices.csv: the labels of AudioSet are another repository's file"),
        ("ced-tiny", {"auto_class": "AutoModel"}, "its auto_map names no AutoModel"),
        ("ced-tiny", {"part": "decoder"}, "interface.part: CedForAudioClassification has no submodule 'decoder'"),
        ("usad-base", {"frames": "states"}, "interface.frames: the dict that the model returns has no tensor 'states'"),
        ("usad-base", {"auto_class": "AutoModelForAudioClassification"}, "names no AutoModelForAudioClassification"),
    ],
)
def test_another_interface_is_one_line(preset, change, message, entries):
    interface = {**get_record(preset).options["interface"], **change}
    with pytest.raises(UserError, match=message) as caught:
        load({**entries[preset], "interface": interface})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "embedding", "message"),
    [
        ("bird-mae-base", "frames", "got shape .1, 12.; set embedding: pooled"),
        ("usad-base", "pooled", "embedding: pooled: vectors should be .batch, dimension., got shape"),
    ],
)
def test_vectors_and_frames_are_not_confused(preset, embedding, message, entries):
    with pytest.raises(UserError, match=message):
        describe({**entries[preset], "embedding": embedding})


def test_a_model_that_cannot_be_built_is_one_line(entries, tmp_path):
    folder = tmp_path / "org" / "usad"
    entry = {"name": "usad-base", **save_published("usad", folder)}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_layers": "two"}))
    with pytest.raises(UserError, match="usad-base: its model cannot be built: TypeError") as caught:
        describe(entry)
    assert "\n" not in str(caught.value)


@pytest.mark.thorough
def test_a_repository_of_the_hub_runs_at_the_trusted_commit(serve, tmp_path):
    save_published("ced", tmp_path / "org" / "ced")
    files = {path.name: path.read_bytes() for path in (tmp_path / "org" / "ced").iterdir()}
    endpoint, _ = serve(hub({"main": files}, repos=("mispeech/ced-tiny",)))
    environment = environment_of(endpoint, tmp_path / "hf")

    def run(**options):
        command = [sys.executable, "-c", EMBED, json.dumps({"name": "ced-tiny", **options})]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    trust = f"mispeech/ced-tiny@{COMMITS['main']}"
    refused = run()
    assert f"pass --trust {trust}, or" in refused.stderr
    assert run(trust=trust).stdout == "(1, 6, 12)\n"


@pytest.mark.thorough
@pytest.mark.parametrize("preset", PRESETS)
def test_the_contract_holds(preset, entries):
    entry = {**entries[preset], "max_duration_s": 10.0}
    spec = describe(entry)
    subject = Subject(load(entry, spec=spec), make_clips(*usual_lengths(spec.sample_rate)), lambda: load(entry))
    found = {finding.name: (finding.holds, finding.detail) for finding in run_checks(subject, 60.0)}
    assert {name for name, (holds, _) in found.items() if holds is not True} == set(), found
