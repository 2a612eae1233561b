"""A backbone family is one file and one line; everything else reads its declarations."""

import importlib
import sys

import pandas as pd
import pytest
import yaml

from features import backbones
from features.planning.plan import default_batch_s
from features.store import open_table
from pipeline.config.finetune_entries import options_class
from pipeline.init.look import Audio
from pipeline.init.suggest import candidates, suggest_backbones
from tests.pipeline.predicting.conftest import run

FAMILY = '''
"""Loudness and extremes of short frames."""

import shutil
from pathlib import Path

from pydantic import Field

from features.backbones.base import Backbone, Bundle
from features.backbones.family import Candidate, EndToEndTraining, Family
from features.backbones.loading.digests import file_sha256
from features.backbones.options import BackboneOptions
from features.backbones.presets.record import Preset
from features.spec import BackboneSpec

HOP = 80
FAMILY = Family(
    presets={"peaks-loud": Preset(weights="loud.txt", licence="cc-by-4.0", dim=3, pretrained_on=("ESC-50",))},
    weights_from="file",
    libraries=("PyYAML",),
    fp32_only=True,
    batch_s={"cpu": 2.5},
    end_to_end=EndToEndTraining(frozen_part="gain"),
    candidates=(Candidate("peaks-loud", "loud sounds", True, 0.01, 0.1),),
)
BATCHES = []  # padded seconds of each


class Options(BackboneOptions):
    weights: str = Field(description="a file with one number")


def summary(options):
    return {"weights": getattr(options, "weights", "a file"), "sample_rate_hz": 8000, "summary": "peaks of frames"}


def describe(options):
    return BackboneSpec(
        name=options.name, family="peaks", weights=options.weights, weights_sha256=file_sha256(Path(options.weights)),
        sample_rate=8000, layers=(0,), dim=3, frame_rate=100.0, min_duration_s=0.01, max_duration_s=10.0,
    )


def bundle(options, spec, folder):
    shutil.copyfile(options.weights, folder / "weights.txt")
    return Bundle({"weights": "weights.txt"})


def load(options, spec, *, device, precision):
    import torch

    from features.pooling import Frames

    class Peaks(Backbone):
        def forward(self, waveforms, lengths):
            if len(waveforms) > 1:
                BATCHES.append(waveforms.numel() / 8000)
            counts = lengths // HOP
            frames = waveforms[:, : int(counts.max()) * HOP].reshape(len(waveforms), 1, -1, HOP)
            values = [frames.amax(3), frames.amin(3), frames.square().mean(3)]
            return Frames(gain * torch.stack(values, dim=3), counts)

    gain = float(Path(options.weights).read_text())
    backbone = Peaks()
    backbone.spec, backbone.device = spec, torch.device("cpu")
    return backbone
'''
CONFIG = """
name: new
dataset:
  {kind: synthetic, root: audio, clips_per_class: 8, max_duration_s: 1.0, classes: [siren, warble, band_noise]}
features: {precision: bf16, backbones: [{name: mfcc}, {name: peaks-loud}]}
heads: [{name: linear, l2: [1.0e-2]}]
protocol: holdout
seeds: [0]
output: {cache: cache, runs: runs}
"""


@pytest.fixture
def peaks(tmp_path, monkeypatch):
    """The new family: a file in a separate folder, and a line in the table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "peaks_family.py").write_text(FAMILY)
    (tmp_path / "loud.txt").write_text("2.0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(backbones.BACKBONES, "peaks", "peaks_family")
    yield importlib.import_module("peaks_family")
    del sys.modules["peaks_family"]


@pytest.mark.e2e
@pytest.mark.usefixtures("global_state")
def test_one_file_and_one_line_add_a_family(peaks, tmp_path, capsys):
    (tmp_path / "new.yaml").write_text(CONFIG)

    assert run("backbones", "ls") == 0
    rows = {line.split()[0]: line.split()[1:4] for line in capsys.readouterr().out.splitlines()}
    assert (rows["peaks-loud"], rows["peaks"][0]) == (["peaks", "loud.txt", "8000"], "peaks")

    assert run("run", "new.yaml", "--device", "cpu") == 0
    table = pd.read_csv("runs/new/report/results.csv").set_index("model")
    assert {"mfcc", "peaks-loud"} <= set(table.index)
    assert table.loc["peaks-loud", "weights"] == "pretrained:loud.txt"
    (cache,) = (tmp_path / "cache" / "synthetic").glob("peaks-loud-*.h5")
    stored = open_table(cache)
    assert stored.cache_spec["precision"] == "fp32", "although the config asks for bf16"
    assert "PyYAML" in stored.versions

    assert 1.0 < max(peaks.BATCHES) <= 2.5 < default_batch_s(stored.spec, "cuda")

    assert run("export", "runs/new/models/peaks-loud/linear", "exported") == 0
    _, front, body = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(front)
    assert (card["license"], card["tags"][-1]) == ("cc-by-4.0", "peaks")
    assert "their publisher states cc-by-4.0" in body
    assert "weights pretrained on: ESC-50" in body
    clip = next((tmp_path / "audio").rglob("*.wav"))
    assert run("predict", "exported", clip) == 0


def test_the_capabilities_of_a_new_family_are_found(peaks, tmp_path):
    assert "peaks-loud" in {candidate.name for candidate in candidates()}
    audio = Audio(
        median_s=1.0, shortest_s=1.0, longest_s=1.0, total_s=9.0, rate=16_000, rates=1, looked_at=9, unreadable=0
    )
    judged = {one.candidate.name: one for one in suggest_backbones(audio, "fsdd")}
    assert judged["peaks-loud"].use
    (tmp_path / "loud.txt").unlink()
    judged = {one.candidate.name: one for one in suggest_backbones(audio, "fsdd")}
    assert "needs loud.txt" in judged["peaks-loud"].why
    assert {"weights", "freeze_encoder"} <= set(options_class("peaks-loud").model_fields)


def test_a_family_outside_the_table_has_the_defaults():
    family = backbones.get_family("toy")
    assert (family.fp32_only, family.end_to_end, dict(family.presets)) == (False, None, {})


def test_every_candidate_of_init_is_a_known_backbone():
    for name in backbones.BACKBONES:
        family = backbones.get_family(name)
        assert {candidate.name for candidate in family.candidates} <= {name, *family.presets}
