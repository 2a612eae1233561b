"""Modules with the API of HEAR 2021 as backbones, and the package's backbones as such a module."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from features import backbones
from features import hear_api as hear
from features.backbones import describe, load
from features.backbones.base import pad
from features.errors import ConfigError, WeightsError
from features.pooling import pool
from features.store.fingerprint import cache_spec, fingerprint

pytestmark = pytest.mark.thorough

HERE = str(Path(__file__).parent)
ENTRY = {"name": "hear", "module": "tiny_models", "folder": HERE}
API = """
import torch

class Model(torch.nn.Module):
    sample_rate, scene_embedding_size, timestamp_embedding_size = {rate}, {scene}, 3

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

def load_model(model_file_path="", gain=1.0):
    return Model(gain)

def get_timestamp_embeddings(audio, model):
    frames = audio.unfold(1, 300, 100)[..., :3] * model.gain
    return frames, torch.arange(frames.shape[1]).expand(len(audio), -1) * {step}

def {function}(audio, model):
    return audio[:, :3] * model.gain
"""


@pytest.fixture
def module(tmp_path, request):
    """Write a HEAR module with something about it changed; gives its entry."""

    def write(rate=16_000, scene=3, step=6.25, function="get_scene_embeddings"):
        name = "api_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
        text = API.format(rate=rate, scene=scene, step=step, function=function)
        (tmp_path / f"{name}.py").write_text(text)
        return {"name": "hear", "module": name, "folder": str(tmp_path)}

    return write


def tiny():
    """The test's own module and a model of it as the backbone loads it."""
    backbone = load(ENTRY)
    return backbones.import_module("tiny_models"), backbone.model


@pytest.mark.parametrize("embeddings", ["scene", "timestamps"])
def test_embeddings_are_the_modules_own_for_each_clip_alone(embeddings, make_clips):
    api, model = tiny()
    backbone = load({**ENTRY, "embeddings": embeddings})
    clips = make_clips(8_000, 16_000, 16_000, 1_600, 40_123)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        audio = torch.from_numpy(clip)[None]
        if embeddings == "scene":
            expected = api.get_scene_embeddings(audio, model)[:, None]
        else:
            expected = api.get_timestamp_embeddings(audio, model)[0]
        np.testing.assert_allclose(frames, expected.numpy(), atol=1e-5)


def test_the_spec_matches_the_model():
    scene, sequence = describe(ENTRY), describe({**ENTRY, "embeddings": "timestamps"})
    assert (scene.sample_rate, scene.dim, sequence.dim) == (16_000, 24, 12)
    assert sequence.frame_rate == pytest.approx(100)
    assert scene.weights == "tiny_models"
    assert scene.settings["module"] == "tiny_models"
    assert fingerprint(cache_spec(scene, ["mean"])) != fingerprint(cache_spec(sequence, ["mean"]))


def test_scene_embeddings_count_by_their_windows_length(make_clips):
    backbone = load({**ENTRY, "max_duration_s": 10})
    (clip,) = make_clips(16_000)
    frames = backbone.embed_batch(*pad([clip], 1))
    assert frames.weights is not None
    assert frames.weights[0, 0] == pytest.approx(0.1)


def test_weights_arguments_and_source_change_the_fingerprint(module, tmp_path):
    _, model = tiny()
    torch.save({name: tensor + 0.1 for name, tensor in model.state_dict().items()}, tmp_path / "tiny.pt")
    plain, other = describe(ENTRY), describe({**ENTRY, "weights": str(tmp_path / "tiny.pt")})
    assert plain.weights_sha256 != other.weights_sha256
    assert other.weights.endswith("tiny.pt")
    entry = module()
    first = describe(entry)
    louder = describe({**entry, "arguments": {"gain": 2.0}})
    assert louder.settings["arguments"] == {"gain": 2.0}
    assert louder.weights_sha256 != first.weights_sha256
    (source,) = tmp_path.glob("api_*.py")
    source.write_text(source.read_text() + "\nX = 1\n")
    assert describe(entry).settings["source_sha256"] != first.settings["source_sha256"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"function": "get_scene"}, "has no function get_scene_embeddings; a HEAR module has load_model, "),
        ({"rate": 16_000.5}, "model needs a whole number sample_rate, got 16000.5"),
        ({"scene": 4}, "states scene_embedding_size 4, but its embeddings have 3 dimensions"),
    ],
)
def test_a_module_that_does_not_keep_to_the_api_is_refused(written, message, module):
    with pytest.raises(ConfigError, match=message) as caught:
        describe(module(**written))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"module": "a-b"}, ConfigError, "should be an import path such as my_package.my_module, got 'a-b'"),
        ({"module": "no_such_module"}, ConfigError, "no module 'no_such_module', neither installed nor in "),
        ({"weights": "nowhere.pt"}, WeightsError, "no file 'nowhere.pt'; set features.backbones.hear.weights"),
        ({"weights": "random"}, ConfigError, "has no untrained control"),
        ({"arguments": {"size": 1}}, WeightsError, r"load_model\(\) fails with TypeError: .*'size'"),
        ({"weights": str(Path(__file__))}, WeightsError, r"load_model\(.*test_hear.py.\) fails with "),
    ],
)
def test_bad_entries_are_one_line(change, error, message):
    with pytest.raises(error, match=message) as caught:
        describe({**ENTRY, **change})
    assert "\n" not in str(caught.value)


def test_timestamps_must_grow(module):
    with pytest.raises(ConfigError, match="timestamps do not increase"):
        describe({**module(step=0), "embeddings": "timestamps"})


OURS = [
    ("", 22_050, 53, 53),
    ("logmel", 22_050, 128, 128),
    ("{name: wav2vec2, weights: random, size: tiny}", 16_000, 96, 96),
    (
        json.dumps({"name": "wav2vec2", "weights": "random", "size": "tiny", "pooling": ["mean", "std"]}),
        16_000,
        192,
        96,
    ),
    ("{name: vggish, weights: random}", 16_000, 128, 128),
]


@pytest.mark.parametrize(("path", "rate", "scene", "sequence"), OURS)
@pytest.mark.parametrize("seconds", [0.3, 1.07, 1.98, 4.0, 31.3])
def test_ours_as_a_hear_module(path, rate, scene, sequence, seconds):
    model = hear.load_model(path)
    assert (model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size) == (rate, scene, sequence)
    audio = 0.1 * torch.randn(2, int(seconds * rate), generator=torch.Generator().manual_seed(0))
    vectors = hear.get_scene_embeddings(audio, model)
    frames, stamps = hear.get_timestamp_embeddings(audio, model)
    assert (vectors.shape, vectors.dtype) == ((2, scene), torch.float32)
    assert (frames.shape[0], frames.shape[2], frames.dtype) == (2, sequence, torch.float32)
    assert stamps.shape == frames.shape[:2]
    assert vectors.isfinite().all() and frames.isfinite().all()
    assert stamps.min() >= 0 and stamps.max() <= 1000 * max(seconds, model._spec.min_duration_s)
    steps = stamps.diff()
    assert (steps > 0).all()
    if seconds < 30:
        np.testing.assert_allclose(steps, 1000 / model._spec.frame_rate, rtol=1e-3)


def test_ours_gives_what_stage_1_gives(make_clips):
    entry = {"name": "wav2vec2", "weights": "random", "size": "tiny"}
    backbone = load(entry)
    clips = make_clips(16_000, 16_000)
    expected = backbone.embed_batch(*pad(clips, 400))
    audio = torch.from_numpy(np.stack(clips))
    for layer in (0, 1, -1):
        model = hear.load_model(json.dumps({**entry, "layer": layer, "pooling": ["mean", "std", "max"]}))
        frames, stamps = hear.get_timestamp_embeddings(audio, model)
        torch.testing.assert_close(frames, expected.values[:, layer])
        pooled = pool(expected, ["mean", "std", "max"])
        vectors = torch.cat([pooled[method][:, layer] for method in ("mean", "std", "max")], 1)
        torch.testing.assert_close(hear.get_scene_embeddings(audio, model), vectors)
    assert stamps[0, :2].tolist() == [12.5, 32.5]  # ms: the middle of each frame's 400 samples


def test_ours_takes_files_folders_and_options(tmp_path, save_encoder):
    (tmp_path / "entry.yaml").write_text(yaml.safe_dump({"name": "wav2vec2", "weights": "random", "size": "tiny"}))
    assert hear.load_model(str(tmp_path / "entry.yaml")).scene_embedding_size == 96
    folder, _ = save_encoder()
    assert hear.load_model(str(folder)).scene_embedding_size == 32
    assert hear.load_model("wavlm-base", weights="random", size="tiny").scene_embedding_size == 96


def test_ours_has_its_networks_parameters_and_goes_through_itself(tmp_path):
    text = "{name: wav2vec2, weights: random, size: tiny}"
    model = hear.load_model(text)
    assert sum(p.numel() for p in model.parameters()) == load(yaml.safe_load(text)).parameters > 0
    entry = {"name": "hear", "module": "features.hear", "arguments": {"model_file_path": text}}
    spec = describe(entry)
    assert (spec.dim, spec.sample_rate) == (96, 16_000)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("wav2vec3", "'wav2vec3' is not a backbone, a folder, or a file or text with an entry .*backbones: mfcc, "),
        ("{name: mfcc, layer: 3}", "layer 3: mfcc has layers 0 to 0"),
        ("{name: mfcc, pooling: [median]}", r"pooling \['median'\]: should be a list of mean, std, max"),
        ("{name: mfcc, layer: all}", "layer should be a number"),
        ("{name: mfcc, hop: 3}", "unknown key"),
        ("{name: [", "is not a backbone"),
    ],
)
def test_ours_refuses_what_it_cannot_load(path, message):
    with pytest.raises(ConfigError, match=message):
        hear.load_model(path)
