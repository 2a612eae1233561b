"""Code that comes with weights runs only if exactly this revision of it is trusted."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from features.backbones import check_trusted, describe, load, parse_options
from features.errors import ConfigError, UserError, WeightsError
from features.store.fingerprint import cache_spec, fingerprint
from tests.features.backbones.loading.loopback_hub import COMMITS, environment_of, hub

CONFIGURATION = """
from pathlib import Path

from transformers import PretrainedConfig

(Path.home() / "code-was-run").touch()


class StrangeConfig(PretrainedConfig):
    model_type = "strange"

    def __init__(self, width=8, **kwargs):
        self.width = width
        super().__init__(**kwargs)
"""
LAYERS = """
from torch import nn


def convolution(width):
    return nn.Conv1d(1, width, 400, 320)
"""
MODEL = """
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .configuration_strange import StrangeConfig
from .layers_strange import convolution


class StrangeModel(PreTrainedModel):
    config_class = StrangeConfig

    def __init__(self, config):
        super().__init__(config)
        self.convolution = convolution(config.width)
        self.post_init()

    def forward(self, input_values, output_hidden_states=False):
        return BaseModelOutput(last_hidden_state=self.convolution(input_values[:, None]).transpose(1, 2))
"""
LOAD = """
import json, sys
import numpy as np
from features.backbones import load
from features.errors import AudioheadsError
for entry in map(json.loads, sys.argv[1:]):
    try:
        print(json.dumps(load(entry).embed([np.ones(800, np.float32)])[0].shape))
    except AudioheadsError as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model folder with code of its own, `org/strange`; a run of the code leaves a file in the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "org" / "strange"
    folder.mkdir(parents=True)
    for name, text in (("configuration", CONFIGURATION), ("layers", LAYERS), ("modeling", MODEL)):
        (folder / f"{name}_strange.py").write_text(text)
    classes = {"AutoConfig": "configuration_strange.StrangeConfig", "AutoModel": "modeling_strange.StrangeModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "strange", "width": 4, "auto_map": classes}))
    extractor = {"do_normalize": False, "sampling_rate": 16000, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    generator = torch.Generator().manual_seed(0)
    state = {
        "convolution.weight": torch.randn(4, 1, 400, generator=generator),
        "convolution.bias": torch.randn(4, generator=generator),
    }
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def was_run(folder):
    return (folder.parent.parent / "code-was-run").exists()


def asked_for(folder):
    """The value of `trust` that the error without it names."""
    with pytest.raises(
        WeightsError, match=r"if you trust it: pass --trust (org/strange@[0-9a-f]{40}), or .* trust: \1$"
    ) as caught:
        describe({"name": "transformers", "weights": str(folder)})
    assert "\n" not in str(caught.value)
    return str(caught.value).rpartition(" ")[2]


def test_without_trust_nothing_runs_and_one_line_says_what_to_add(folder, make_clips):
    trust = asked_for(folder)
    assert not was_run(folder)
    backbone = load({"name": "transformers", "weights": str(folder), "trust": trust})
    assert was_run(folder)
    clips = make_clips(2_000, 16_000)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    for clip, frames in zip(clips, backbone.embed(clips), strict=True):
        inputs = torch.from_numpy(clip)[None, None]
        expected = torch.conv1d(inputs, state["convolution.weight"], state["convolution.bias"], stride=320)
        np.testing.assert_allclose(frames[0], expected[0].T.numpy(), atol=1e-4)


def test_a_relative_folder_can_have_the_name_of_its_repository(folder, monkeypatch):
    monkeypatch.chdir(folder.parent.parent)
    entry = {"name": "transformers", "weights": "org/strange", "trust": asked_for(folder)}
    assert describe(entry).dim == 4


def test_the_digest_of_the_code_is_in_the_fingerprint_and_changed_code_is_not_trusted(folder):
    entry = {"name": "transformers", "weights": str(folder), "trust": asked_for(folder)}
    first = describe(entry)
    with (folder / "layers_strange.py").open("a") as file:  # imported by the model's module only
        file.write("# changed\n")
    with pytest.raises(WeightsError, match=r"trust is org/strange@.*, but the code of .* is org/strange@"):
        describe(entry)
    second = describe({**entry, "trust": asked_for(folder)})
    assert first.weights_sha256 == second.weights_sha256
    assert fingerprint(cache_spec(first, ["mean"])) != fingerprint(cache_spec(second, ["mean"]))


def test_an_entry_from_a_file_needs_trust_again():
    trust = f"org/strange@{'a' * 40}"
    entry = {"name": "transformers", "weights": "org/strange", "trust": trust}
    with pytest.raises(UserError, match=f"model.pt: its backbone runs the code of {trust}; .* pass --trust {trust}"):
        check_trusted(entry, [], "model.pt")
    check_trusted(entry, [trust], "model.pt")
    check_trusted({**entry, "trust": None}, [], "model.pt")


@pytest.mark.parametrize("trust", ["org/strange", "org/strange@main", f"org/strange@{'A' * 40}", "x@" + "a" * 40, ""])
def test_trust_names_a_whole_revision(trust, folder):
    with pytest.raises(ConfigError, match="trust: should be org/name@revision with all 40 hex digits"):
        parse_options({"name": "transformers", "weights": str(folder), "trust": trust})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("other/repo--modeling.Model", "names 'other/repo--modeling.Model', which is not a class in a file"),
        ("../evil.Model", "names '../evil.Model', which is not a class"),
        ("modeling_absent.Model", "has no modeling_absent.py, a part of the model's code"),
    ],
)
def test_code_from_elsewhere_is_refused(path, message, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": path}}))
    with pytest.raises(WeightsError, match=message) as caught:
        describe({"name": "transformers", "weights": str(folder), "trust": f"org/strange@{'a' * 40}"})
    assert "\n" not in str(caught.value)
    assert not was_run(folder)


def test_code_that_cannot_be_imported_is_one_line(folder):
    (folder / "layers_strange.py").write_text("import a_missing_package\n")
    with pytest.raises(WeightsError, match=r"the code in .* cannot be imported \(.*a_missing_package") as caught:
        describe({"name": "transformers", "weights": str(folder), "trust": asked_for(folder)})
    assert "\n" not in str(caught.value)


@pytest.mark.thorough
def test_a_hub_repository_runs_at_the_trusted_commit_only(folder, serve, tmp_path):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    endpoint, asked = serve(hub({"main": files, "old": files}, repos=("org/strange",)))

    def ask(*entries):
        command = [sys.executable, "-c", LOAD, *(json.dumps({"name": "transformers", **entry}) for entry in entries)]
        environment = environment_of(endpoint, tmp_path / "hf")
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    trust = f"org/strange@{COMMITS['main']}"
    (refused,) = ask({"weights": "org/strange"})
    assert refused.endswith(f"trust: {trust}")
    assert not any(path.endswith(".py") for _, path in asked)
    assert not was_run(folder)
    unpinned, pinned, other = ask(
        {"weights": "org/strange", "trust": trust},
        {"weights": trust, "trust": trust},
        {"weights": f"org/strange@{COMMITS['old']}", "trust": trust},
    )
    assert unpinned == pinned == [1, 4, 4]
    assert f"trust is {trust}, but the code of org/strange@{COMMITS['old']} is" in other
