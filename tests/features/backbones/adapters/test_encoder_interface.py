"""Models with an interface of their own: local ones with the interface of EAT's and CED's publishers."""

import json

import numpy as np
import pytest
import torch
from torchaudio.compliance.kaldi import fbank

from features.backbones import describe, get_record, load
from features.backbones.adapters.encoder_interface import InterfacedEncoder
from features.backbones.loading.remote_code import RemoteCode
from features.backbones.options import EncoderInterface
from features.errors import UserError
from features.store.fingerprint import cache_spec, fingerprint

# As EAT's: never calls `post_init`, takes (B, 1, 1024, 128), returns a class token, then 64 x 8 patches by time
EAT_CODE = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class PatchesConfig(PretrainedConfig):
    model_type = "patches"


class PatchesModel(PreTrainedModel):
    config_class = PatchesConfig

    def __init__(self, config):
        super().__init__(config)
        self.projection = nn.Conv2d(1, 6, 16, 16)

    def forward(self, *args, **kwargs):
        raise NotImplementedError

    def extract_features(self, x):
        patches = self.projection(x).flatten(2).transpose(1, 2)
        return torch.cat([torch.full_like(patches[:, :1], 1e6), patches], dim=1)
"""
# As CED's: returns its patches as `logits`, all time steps of the lowest band first
CED_CODE = EAT_CODE.replace(
    "raise NotImplementedError", 'return {"logits": self.projection(args[0]).transpose(2, 3).flatten(2).mT}'
)
EAT = {"call": "extract_features", "add_channel": True, "skip_tokens": 1, "bands": 8}
CED = {"frames": "logits", "add_channel": True, "bands": 8, "order": "frequency"}
EXTRACTOR = {"feature_extractor_type": "ASTFeatureExtractor", "mean": -4.268, "std": 4.569}
LENGTHS = (16_000, 40_123, 160_000)


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """Write a model folder without a preprocessor; return a trusted entry, given its code and interface."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "org" / "patches"
    folder.mkdir(parents=True)
    classes = {"AutoConfig": "modeling_patches.PatchesConfig", "AutoModel": "modeling_patches.PatchesModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "patches", "auto_map": classes}))
    weight = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0)) / 16
    torch.save({"projection.weight": weight, "projection.bias": torch.arange(6.0)}, folder / "pytorch_model.bin")

    def write(code=EAT_CODE, interface=EAT):
        (folder / "modeling_patches.py").write_text(code)
        trust = f"org/patches@{RemoteCode.in_folder('patches', folder).sha256[:40]}"
        entry = {"name": "transformers", "weights": str(folder), "trust": trust, "extractor": EXTRACTOR}
        return {**entry, "interface": interface}

    return write


def published(clip, folder):
    """Compute the mean over frequency of the patches as EAT's publisher prepares them, (64, D)."""
    samples = torch.from_numpy(clip)[None]
    mel = fbank(
        samples - samples.mean(),
        htk_compat=True,
        sample_frequency=16_000,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=128,
        dither=0.0,
        frame_shift=10,
    )
    mel = torch.nn.functional.pad(mel, (0, 0, 0, 1024 - len(mel)))
    mel = (mel + 4.268) / (4.569 * 2)
    state = torch.load(f"{folder}/pytorch_model.bin", weights_only=True)
    patches = torch.nn.functional.conv2d(mel[None, None], state["projection.weight"], state["projection.bias"], 16)
    return patches[0].mean(2).T.numpy()


@pytest.mark.parametrize(("code", "interface"), [(EAT_CODE, EAT), (CED_CODE, CED)], ids=["eat", "ced"])
def test_frames_are_those_of_the_publishers_preparation(code, interface, entry, make_clips):
    options = entry(code, interface)
    clips = [clip + 0.1 for clip in make_clips(*LENGTHS)]
    backbone = load(options)
    assert (backbone.spec.dim, backbone.spec.layers, backbone.spec.frame_rate) == (6, (0,), 6.25)
    assert backbone.spec.max_duration_s == pytest.approx(10.255)
    for clip, frames, steps in zip(clips, backbone.embed(clips), (6, 15, 62), strict=True):
        assert frames.shape == (1, steps, 6)
        np.testing.assert_allclose(frames[0], published(clip, options["weights"])[:steps], atol=1e-4)


def test_the_preset_reads_a_model_with_eats_interface(entry, make_clips):
    options = entry()
    record = get_record("eat-base")
    preset = load({"name": "eat-base", "weights": options["weights"], "trust": options["trust"]})
    clips = make_clips(*LENGTHS)
    for one, other in zip(preset.embed(clips), load(options).embed(clips), strict=True):
        np.testing.assert_array_equal(one, other)
    assert record.needs_trust
    assert "trust" not in record.entry
    assert record.input.longest_s == preset.spec.max_duration_s
    assert record.input.sample_rate_hz / record.input.hop_samples == preset.spec.frame_rate


def test_the_interface_is_in_the_fingerprint(entry):
    options = entry()
    both = [describe({**options, "interface": {**EAT, **change}}) for change in ({}, {"order": "frequency"})]
    assert len({fingerprint(cache_spec(spec, ["mean"])) for spec in both}) == 2


def test_runs_and_caches_of_an_interface_stay_valid_when_options_are_added():
    first = {"call", "add_channel", "frames", "skip_tokens", "bands", "order"}
    assert EncoderInterface(**EAT).model_dump().keys() == first
    assert EncoderInterface(**EAT, longest_s=10.0).model_dump().keys() == first | {"longest_s"}
    assert EncoderInterface(**EAT, part="encoder").model_dump(mode="json").keys() == first | {"part"}


def test_a_missing_axis_of_channels_is_added_and_a_present_one_is_kept():
    interface = EncoderInterface(add_channel=True, call="__call__")
    encoder = InterfacedEncoder(torch.nn.Flatten(2), None, interface)
    spectrogram = torch.rand(2, 4, 3)
    for inputs in (spectrogram, spectrogram[:, None]):
        assert encoder(inputs).last_hidden_state.shape == (2, 1, 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"call": "encode"}, r"interface.call: \w+ has no method 'encode'"),
        ({"frames": "states"}, r"interface.frames: the Tensor that the model returns has no tensor 'states'"),
        ({"bands": 7}, "interface.bands: 512 frames are not a whole number of steps of 7 bands"),
        ({"skip_tokens": 513}, "interface.bands: 0 frames are not a whole number"),
    ],
)
def test_an_interface_that_does_not_fit_is_one_line(change, message, entry):
    with pytest.raises(UserError, match=message) as caught:
        describe({**entry(), "interface": {**EAT, **change}})
    assert "\n" not in str(caught.value)


def test_an_unknown_feature_extractor_is_one_line(entry):
    with pytest.raises(UserError, match="feature_extractor_type: transformers has no 'Bands'"):
        describe({**entry(), "extractor": {"feature_extractor_type": "Bands"}})


def test_untrained_encoders_have_no_interface():
    entry = {"name": "transformers", "weights": "random", "model_type": "whisper", "interface": EAT}
    with pytest.raises(UserError, match="interface is for weights of other models"):
        describe(entry)
