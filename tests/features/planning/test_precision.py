"""The precision check is measured on the run's clips, recorded, and decides the run's precision."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from features.extract import extract
from features.planning import precision as drift
from features.planning.plan import Plan, PlannedClip
from features.planning.precision import LOWEST_COSINE, auto_precision, measure, read_precision_check, settle
from features.planning.settings import Settings
from features.pooling import Frames
from features.records import Records
from features.store.fingerprint import cache_path
from features.store.verify import verify_table
from tests.features.toys import NAMES, RATE, Log, Toy, noise, toy_spec


class Rough(Toy):
    """Rounds to a grid: `step` 0 is fp32."""

    def __init__(self, spec, step):
        super().__init__(spec)
        self.step = step

    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        values = frames.values
        if self.step:
            values = torch.cat([values[:, :1], (values[:, 1:] / self.step).round() * self.step], dim=1)
        return Frames(values, frames.lengths)


class Loader:
    def __init__(self, step):
        self.step = step
        self.loaded = []

    def __call__(self, precision):
        self.loaded.append(precision)
        return Rough(toy_spec(), 0 if precision == "fp32" else self.step)


def run(corpus, loader, log=None, names=NAMES, **settings):
    """Resolve the precision and extract, as stage 1 does."""
    log, spec, clips = log or Log(), toy_spec(), corpus.read(*names)
    own = settle(clips, spec, loader, Settings(**settings), corpus.cache, log.note)
    return own, extract(clips, spec, lambda: loader(own.precision), own, corpus.cache, log), log


def check_file(corpus, precision="bf16"):
    return corpus.file(precision=precision).with_suffix(".drift.json")


def test_a_small_difference_is_noted_stored_and_recorded_in_the_cache(seven):
    own, summary, log = run(seven, Loader(0.05), precision="bf16")
    assert own.precision == "bf16"
    assert summary.path == seven.file(precision="bf16")
    assert "bf16 against fp32 on 7 clip(s): cosine 0.999" in log.notes[0]
    assert "layer 1" in log.notes[0]
    kept = read_precision_check(check_file(seven))
    assert kept.cosines[0] == pytest.approx(1.0)
    assert LOWEST_COSINE < kept.cosines[1] < 1
    assert verify_table(summary.path).cost["drift"] == {"precision": "bf16", "clips": 7, "cosines": list(kept.cosines)}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_large_difference_means_fp32_also_for_the_next_run(seven, precision):
    loader = Loader(1.0)
    own, summary, log = run(seven, loader, precision=precision)
    assert own.precision == "fp32"
    assert summary.path == seven.file(precision="fp32")
    assert "too far: fp32 is used" in log.notes[0]
    loader.loaded.clear()
    own, summary, log = run(seven, loader, precision=precision)
    assert (own.precision, summary.reused, loader.loaded) == ("fp32", 7, []), "found again without loading anything"
    assert "remove" in log.notes[0]
    check_file(seven, precision).unlink()
    assert run(seven, Loader(1e-3), precision=precision)[0].precision == precision


def test_each_run_that_computes_measures_on_its_own_clips_and_a_finished_one_does_not(seven):
    loader = Loader(1e-3)
    run(seven, loader, names=NAMES[:5], precision="bf16")
    loader.loaded.clear()
    assert run(seven, loader, names=NAMES[:5], precision="bf16")[0].precision == "bf16"
    assert loader.loaded == []
    _, _, log = run(seven, loader, precision="bf16")
    assert "on 2 clip(s)" in log.notes[0]


def test_nan_in_reduced_precision_is_a_large_difference():
    class Overflowing(Toy):
        def forward(self, waveforms, lengths):
            frames = super().forward(waveforms, lengths)
            return Frames(frames.values * torch.inf, frames.lengths)

    found = measure(Toy(toy_spec()), Overflowing(toy_spec()), "fp16", [noise(1000)])
    assert not found.small
    assert "nan" in str(found)


def test_silence_has_no_difference():
    silence = [np.zeros(1000, dtype=np.float32)]
    assert measure(Toy(toy_spec()), Toy(toy_spec()), "bf16", silence).cosines == (1.0, 1.0)


def test_only_the_beginning_of_a_long_clip_is_measured(corpus):
    corpus.write("long.wav", noise(RATE * 40))
    seen = []

    class Observed(Toy):
        def forward(self, waveforms, lengths):
            seen.append(int(lengths.max()))
            return super().forward(waveforms, lengths)

    settle(
        corpus.read("long.wav"),
        toy_spec(max_duration_s=60.0),
        lambda precision: Observed(toy_spec(max_duration_s=60.0)),
        Settings(precision="bf16"),
        corpus.cache,
        corpus.log.note,
    )
    assert seen == [int(drift.CLIP_S * RATE)] * 2


def test_auto_is_what_the_device_supports_and_a_started_plan_wins(seven, monkeypatch):
    monkeypatch.setattr(drift, "auto_precision", lambda device: "bf16")
    own, _, _ = run(seven, Loader(1e-3), precision="auto")
    assert own.precision == "bf16"
    begun = cache_path(seven.cache, "birds", Settings(precision="fp32").cache_spec(toy_spec())).with_suffix(".parts")
    Plan("f", Records.of(PlannedClip, ()), (), 1, 20.0, ()).save(begun / "plan.json")
    clips = seven.read(*NAMES)
    settings = settle(clips, toy_spec(), Loader(1e-3), Settings(precision="auto"), seven.cache, seven.log.note)
    assert settings.precision == "fp32"
    monkeypatch.setattr(drift, "auto_precision", lambda device: "fp32")
    begun.rename(
        cache_path(seven.cache, "birds", Settings(precision="bf16").cache_spec(toy_spec())).with_suffix(".parts")
    )
    settings = settle(clips, toy_spec(), Loader(1e-3), Settings(precision="auto"), seven.cache, seven.log.note)
    assert settings.precision == "bf16"


def test_auto_on_this_machine_is_a_precision():
    assert auto_precision("cpu") in ("bf16", "fp32")


def test_transforms_without_a_network_stay_fp32(seven):
    settings = settle(
        seven.read(*NAMES),
        replace(toy_spec(), family="mfcc"),
        None,
        Settings(precision="bf16"),
        seven.cache,
        seven.log.note,
    )
    assert (settings.precision, seven.log.notes) == ("fp32", [])


def test_a_dry_run_measures_and_writes_nothing(seven):
    settings = settle(seven.read(*NAMES), toy_spec(), None, Settings(precision="bf16"), seven.cache, seven.log.note)
    assert settings.precision == "bf16"
    assert not seven.cache.exists()


def test_bf16_of_a_small_wav2vec2_is_close_enough():
    from features import backbones

    options = {"name": "wav2vec2", "weights": "random", "size": "tiny"}
    waveforms = [noise(16_000, 1), noise(9000, 2)]
    found = measure(backbones.load(options), backbones.load(options, precision="bf16"), "bf16", waveforms)
    assert len(found.cosines) == 4
    assert all(0.999 < cosine < 1.0 for cosine in found.cosines)
