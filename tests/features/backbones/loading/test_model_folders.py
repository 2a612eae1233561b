"""Model folders: missing, damaged and unsuitable files are named in errors; every valid layout is loaded correctly."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from features.backbones import describe, load
from features.errors import WeightsError


@pytest.fixture
def folder(save_encoder, tmp_path):
    """A folder with a tiny encoder."""
    return save_encoder(folder=tmp_path / "model")[0]


def options(folder):
    return {"name": "wav2vec2", "weights": str(folder)}


def refused(folder, message, call=describe):
    """One line that names the backbone and matches."""
    with pytest.raises(WeightsError, match=message) as caught:
        call(options(folder))
    assert str(caught.value).startswith(("wav2vec2: ", str(folder)))
    assert "\n" not in str(caught.value)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["no/such/place", "./nowhere", "../nowhere", "~/nowhere-at-all", "/nowhere", "no", ""])
def test_a_folder_that_is_not_there(name):
    ways_out = r"no folder .*; set features\.backbones\.wav2vec2\.weights to a local folder .* or to `random`"
    with pytest.raises(WeightsError, match=ways_out):
        describe({"name": "wav2vec2", "weights": name})


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    refused(tmp_path / "model.safetensors", "no folder")


@pytest.mark.parametrize(
    ("missing", "message"),
    [("config.json", "has no config.json"), ("model.safetensors", "has no model.safetensors or pytorch_model.bin")],
)
def test_a_folder_with_a_file_missing(missing, message, folder):
    (folder / missing).unlink()
    refused(folder, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "config.json: not valid JSON"),
        ("[1]", "config.json: should contain a JSON object, contains a list"),
        ("{}", "model type 'None' is not a Wav2Vec2-like encoder: known are wav2vec2, hubert, wavlm"),
        ('{"model_type": "bert"}', "model type 'bert' is not a Wav2Vec2-like encoder: known are wav2vec2, hubert"),
        ('{"model_type": "wav2vec2", "add_adapter": true}', "add_adapter"),
        ('{"model_type": "wav2vec2", "conv_kernel": [10]}', "conv_kernel"),
        ('{"model_type": "wav2vec2", "hidden_size": "many"}', "hidden_size"),
        (b"\xff\xfe", "config.json: not valid JSON"),
    ],
)
def test_a_configuration_that_makes_no_sense(text, message, folder):
    (folder / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(folder, message)


@pytest.mark.parametrize("text", ["{not json", "[]", '{"do_normalize": "yes"}', '{"sampling_rate": null}'])
def test_a_preprocessor_that_makes_no_sense(text, folder):
    (folder / "preprocessor_config.json").write_text(text)
    refused(folder, "preprocessor_config.json: ")


def test_a_missing_tensor_is_named(folder):
    state = load_file(folder / "model.safetensors")
    del state["encoder.layers.1.feed_forward.output_dense.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, "'encoder.layers.1.feed_forward.output_dense.weight' is missing", load)


def test_a_tensor_of_another_shape_is_named(folder):
    state = load_file(folder / "model.safetensors")
    state["encoder.layers.2.attention.k_proj.weight"] = torch.zeros(7, 32)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, r"'encoder.layers.2.attention.k_proj.weight' has shape \(7, 32\), expected \(32, 32\)", load)


def test_fewer_layers_in_the_file_than_in_the_configuration(folder):
    edit(folder / "config.json", num_hidden_layers=4)
    refused(folder, r"'encoder.layers.3\S+' is missing", load)


def test_weights_cut_short(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(folder, r"cannot be loaded \(.*\); if model\.safetensors cannot be read, download it again", load)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_a_pointer_of_git_lfs_is_named(name, folder):
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n")
    if name.endswith(".index.json"):
        (folder / "model.safetensors").unlink()
    refused(folder, rf"{name} is a pointer of Git LFS, not the file itself; run `git lfs pull`")


class Bomb:
    """A pickle that makes a folder when it is unpickled freely."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_pickle_with_code_in_it_is_not_run(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    torch.save({"encoder.layer_norm.weight": Bomb(tmp_path / "exploded")}, folder / "pytorch_model.bin")
    refused(folder, "cannot be loaded", load)
    assert not (tmp_path / "exploded").exists()


def same_as(folder, other, make_clips):
    clips = make_clips(2_000, 9_000)
    frames, expected = (load(options(place)).embed(clips) for place in (folder, other))
    for a, b in zip(frames, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def copy_without_weights(folder, name):
    target = folder.with_name(name)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    return target


def test_a_pytorch_bin_with_the_names_of_published_checkpoints(folder, make_clips):
    """Hub checkpoints of 2020-2023: pickled, weight norm as `weight_g` and `weight_v`, a head's prefix before all."""
    target = copy_without_weights(folder, "bin")
    state = load_file(folder / "model.safetensors")
    renamed = {
        "wav2vec2."
        + name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in state.items()
    }
    assert sum(name.endswith(("weight_g", "weight_v")) for name in renamed) == 2
    torch.save({**renamed, "lm_head.weight": torch.zeros(4, 32)}, target / "pytorch_model.bin")
    same_as(target, folder, make_clips)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_shards(file, folder, make_clips):
    target = copy_without_weights(folder, "sharded")
    state = load_file(folder / "model.safetensors")
    stem, suffix = file.split(".")
    shards = [f"{stem}-{number + 1:05d}-of-00002.{suffix}" for number in range(2)]
    placed = {name: shards[number % 2] for number, name in enumerate(sorted(state))}
    for shard in shards:
        part = {name: state[name] for name in state if placed[name] == shard}
        if suffix == "safetensors":
            save_file(part, target / shard, metadata={"format": "pt"})
        else:
            torch.save(part, target / shard)
    (target / f"{file}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    same_as(target, folder, make_clips)
    before = describe(options(target)).weights_sha256
    last = (target / shards[1]).read_bytes()
    (target / shards[1]).write_bytes(last + b"\0")
    assert describe(options(target)).weights_sha256 != before
    (target / shards[1]).unlink()
    refused(target, "has no model.safetensors or pytorch_model.bin")


def test_an_index_that_is_none(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")
    refused(folder, "has no `weight_map`")


@pytest.mark.parametrize(
    ("model_type", "head"),
    [
        ("wav2vec2", "Wav2Vec2ForPreTraining"),
        ("wav2vec2", "Wav2Vec2ForCTC"),
        ("hubert", "HubertForCTC"),
        ("wavlm", "WavLMForSequenceClassification"),
        ("data2vec-audio", "Data2VecAudioForCTC"),
        ("unispeech-sat", "UniSpeechSatForPreTraining"),
    ],
)
def test_the_encoder_within_a_model_with_a_head(model_type, head, save_encoder, make_clips, tmp_path):
    import transformers

    folder, encoder = save_encoder(model_type)
    config = encoder.config
    config.vocab_size = 9
    with torch.random.fork_rng(devices=[]):
        model = getattr(transformers, head)(config)
    getattr(model, model.base_model_prefix).load_state_dict(encoder.state_dict())
    model.save_pretrained(tmp_path / "headed")
    assert all(not name.startswith("encoder.") for name in load_file(tmp_path / "headed" / "model.safetensors"))
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "headed")
    same_as(tmp_path / "headed", folder, make_clips)


def test_half_precision_weights_are_computed_with_in_fp32(folder, make_clips):
    target = copy_without_weights(folder, "half")
    state = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    edit(target / "config.json", dtype="float16")
    backbone = load(options(target))
    assert {parameter.dtype for parameter in backbone.module.parameters()} == {torch.float32}
    for a, b in zip(*(load(options(place)).embed(make_clips(9_000)) for place in (target, folder)), strict=True):
        np.testing.assert_allclose(a, b, atol=0.05)


def test_the_digest_is_of_the_weights_not_of_the_place(folder, save_encoder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    edit(moved / "config.json", transformers_version="9.9", _name_or_path="x", architectures=["Wav2Vec2ForCTC"])
    one, other = describe(options(folder)), describe(options(moved))
    assert one.weights_sha256 == other.weights_sha256
    assert one.settings == other.settings
    different, _ = save_encoder(seed=1)
    assert describe(options(different)).weights_sha256 != one.weights_sha256
    edit(moved / "config.json", layer_norm_eps=1e-3)
    assert describe(options(moved)).settings["config_sha256"] != one.settings["config_sha256"]


def test_loading_leaves_the_random_state_alone(folder):
    state = load_file(folder / "model.safetensors")
    del state["masked_spec_embed"]  # made up when it is missing; nothing here uses it
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(options(folder))
    assert torch.equal(torch.rand(3), expected)


def test_loading_is_silent_and_leaves_transformers_as_it_was(folder, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(options(folder))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")
