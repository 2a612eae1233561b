"""Audio encoders of larger models: loaded from the files with their tensors, without the other parts."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from features.backbones import bundle, describe, load
from features.backbones.loading.audio_parts import PARTS
from features.backbones.loading.model_folders import weight_files
from features.backbones.loading.pretrained import read_tensors
from features.errors import WeightsError
from recipes.parity.publishers.huggingface import layers_of
from tests.features.backbones.loading.loopback_hub import environment_of, hub

pytestmark = pytest.mark.thorough

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
PE_AUDIO = {
    **TINY,
    "head_dim": 8,
    "dac_config": {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "codebook_dim": 8},
}
INDEX = "model.safetensors.index.json"
FIND = """
import sys
from features.backbones.loading.model_folders import folder_sha256
from features.backbones.loading.weights import find_model_folder
print(folder_sha256(find_model_folder("flamingo", sys.argv[1])))
"""


@pytest.fixture(scope="module")
def flamingo(tmp_path_factory):
    """A small Audio Flamingo 3 in many files, and the model and feature extractor in it."""
    config = transformers.AudioFlamingo3Config(
        audio_config=TINY,
        text_config={**TINY, "model_type": "qwen2", "num_key_value_heads": 4, "vocab_size": 60},
        audio_token_id=5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.AudioFlamingo3ForConditionalGeneration(config).eval()
    extractor = transformers.WhisperFeatureExtractor(feature_size=128)
    folder = tmp_path_factory.mktemp("flamingo")
    model.save_pretrained(folder, max_shard_size="20KB")
    extractor.save_pretrained(folder)
    return folder, model, extractor


@pytest.fixture
def copy(flamingo, tmp_path):
    return shutil.copytree(flamingo[0], tmp_path / "copy")


def files_of(folder, prefix):
    """Names of the files with tensors whose names have a prefix."""
    listed = json.loads((folder / INDEX).read_text())["weight_map"]
    return {file for tensor, file in listed.items() if tensor.startswith(prefix)}


def test_only_the_files_of_the_encoder_are_needed(flamingo, copy, make_clips):
    folder, model, extractor = flamingo
    needed = files_of(folder, "audio_tower.")
    others = {path.name for path in folder.glob("*.safetensors")} - needed
    assert len(others) > 2
    for name in others:
        (copy / name).unlink()
    assert {path.name for path in weight_files(copy)} == needed
    whole, part = (describe({"name": "audio-flamingo-3", "weights": str(path)}) for path in (folder, copy))
    assert whole.weights_sha256 == part.weights_sha256
    (clip,) = make_clips(20_000)
    frames = load({"name": "audio-flamingo-3", "weights": str(copy)}).embed([clip])[0]
    np.testing.assert_allclose(frames, layers_of(model, extractor, clip), atol=1e-5)


def test_no_tensor_of_another_part_is_read(flamingo):
    folder, model, _ = flamingo
    read = read_tensors("flamingo", folder, PARTS["audioflamingo3"])
    expected = model.model.audio_tower.state_dict()
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], expected[name]) for name in read)


def test_only_these_files_are_downloaded(flamingo, serve, tmp_path):
    folder = flamingo[0]
    endpoint, asked = serve(hub({"main": {path.name: path.read_bytes() for path in folder.iterdir()}}))
    command = [sys.executable, "-W", "error", "-c", FIND, "org/model"]

    def find():
        found = environment_of(endpoint, tmp_path / "hf")
        return subprocess.run(command, capture_output=True, text=True, check=True, env=found).stdout.strip()

    digest = find()
    fetched = {path.rsplit("/", 1)[1] for method, path in asked if method == "GET" and "/resolve/" in path}
    assert fetched == {"config.json", INDEX, "preprocessor_config.json", *files_of(folder, "audio_tower.")}
    assert digest == describe({"name": "audio-flamingo-3", "weights": str(folder)}).weights_sha256
    asked.clear()
    assert find() == digest
    assert asked == []


def test_a_copy_gives_the_same(flamingo, tmp_path, make_clips):
    entry = {"name": "audio-flamingo-3", "weights": str(flamingo[0])}
    copied = bundle(entry, describe(entry), tmp_path / "copy")
    assert copied.files == {"weights": "."}
    assert sum(path.stat().st_size for path in (tmp_path / "copy").glob("*.safetensors")) < 500_000
    clips = make_clips(8_000, 20_000)
    again = load({**entry, "weights": str(tmp_path / "copy")})
    for one, other in zip(again.embed(clips), load(entry).embed(clips), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_audio_encoder_of_a_model_for_audio_and_video(tmp_path, make_clips):
    config = transformers.PeAudioVideoConfig(
        text_config=TINY | {"vocab_size": 50}, audio_video_config={**TINY, "head_dim": 8, "audio_config": PE_AUDIO}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        encoder = transformers.PeAudioEncoder(config.audio_video_config.audio_config).eval()
    extractor = transformers.PeAudioFeatureExtractor()
    tensors = {f"audio_model.audio_encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    save_file(tensors | {"video_model.x": torch.ones(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    config.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    backbone = load({"name": "pe-av-small", "weights": str(tmp_path)})
    clips = make_clips(9_000, 50_000, 50_000)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        np.testing.assert_allclose(frames, layers_of(encoder, extractor, clip), atol=1e-5)


def test_weights_without_the_encoder_or_with_another_one_are_refused_in_one_line(copy):
    index = json.loads((copy / INDEX).read_text())
    tower = sorted(files_of(copy, "audio_tower."))
    damaged = copy / tower[-1]
    whole = damaged.read_bytes()

    def refused(message):
        with pytest.raises(WeightsError, match=message) as caught:
            load({"name": "audio-flamingo-3", "weights": str(copy)})
        assert "\n" not in str(caught.value)

    damaged.write_bytes(whole[:100])
    refused(rf"^audio-flamingo-3: .*{damaged.name} cannot be read \(")
    damaged.write_bytes(whole)
    state = {name: tensor.clone() for name, tensor in load_file(copy / tower[0]).items()}
    name = next(name for name in state if name.startswith("audio_tower."))
    save_file({other: tensor for other, tensor in state.items() if other != name}, copy / tower[0], {"format": "pt"})
    refused(f"does not fit the architecture: '{name.removeprefix('audio_tower.')}' is missing")
    damaged.unlink()
    refused("has no model.safetensors or pytorch_model.bin")
    text_only = {name: file for name, file in index["weight_map"].items() if not name.startswith("audio_tower.")}
    (copy / INDEX).write_text(json.dumps({**index, "weight_map": text_only}))
    refused(rf"^audio-flamingo-3: .*{INDEX}: lists no tensor of the audio encoder of audioflamingo3")
