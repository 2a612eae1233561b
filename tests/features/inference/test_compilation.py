"""Compiling changes speed and the last bits of results; if it fails, a line is logged."""

import shutil

import numpy as np
import pytest
import torch

from features import backbones
from features.inference.compilation import compile_network
from features.planning.resume import PLAN_FILE, REPAID_AFTER_AUDIO_S, is_repaid
from features.store.verify import verify_table
from tests.features.toys import NAMES, Toy, noise, toy_spec

FEW_LAYERS = {"num_hidden_layers": 1, "conv_dim": [16] * 3, "conv_kernel": [10, 8, 8], "conv_stride": [5, 8, 8]}
TINY = {"name": "wav2vec2", "weights": "random", "size": "tiny", "architecture": FEW_LAYERS}


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_network_gives_the_same_and_is_compiled_once(monkeypatch):
    from torch._dynamo.utils import counters

    plain, compiled, notes = backbones.load(TINY), backbones.load(TINY), []
    assert compile_network(compiled, notes.append) > 0
    assert (compiled.compiled, notes) == (True, [])
    counters.clear()
    for lengths in ([16_000, 12_000, 9000], [30_000, 4000], [5000] * 7, [16_000], [480_000]):
        clips = [noise(length, seed) for seed, length in enumerate(lengths)]
        for exact, fast in zip(plain.embed(clips), compiled.embed(clips), strict=True):
            for one, other in zip(exact, fast, strict=True):
                assert np.linalg.norm(one - other) <= 1e-5 * np.linalg.norm(one)
    assert counters["stats"]["unique_graphs"] == 0, "no batch is compiled again"
    assert compile_network(compiled, notes.append) == 0.0


def test_a_failure_costs_one_line(seven):
    class Uncompilable(Toy):
        def compile(self):
            raise RuntimeError("no C++ compiler found\nand much more")

    seven.backbone = Uncompilable
    summary = seven.run(seven.manifest(*NAMES), compile=True)
    assert summary.computed == 7
    assert seven.log.notes == ["cannot be compiled here (no C++ compiler found); continuing without compilation"]


def test_what_compiles_but_does_not_run_stays_uncompiled():
    class Broken(Toy):
        def compile(self):
            return True

        def forward(self, waveforms, lengths):
            if self.compiled:
                raise torch._dynamo.exc.InternalTorchDynamoError("broken")
            return super().forward(waveforms, lengths)

    toy, notes = Broken(toy_spec()), []
    compile_network(toy, notes.append)
    assert toy.compiled is False
    assert len(notes) == 1
    assert len(toy.embed([noise(1000)])) == 1


def test_a_failure_in_a_later_batch_costs_one_line(seven):
    class Breaking(Toy):
        calls = 0

        def compile(self):
            return True

        def forward(self, waveforms, lengths):
            Breaking.calls += self.compiled
            if self.compiled and Breaking.calls > 2:
                raise torch._dynamo.exc.InternalTorchDynamoError("recompilation failed\nand much more")
            return super().forward(waveforms, lengths)

    seven.backbone = Breaking
    summary = seven.run(seven.manifest(*NAMES), compile=True, batch_s=0.4)
    assert (summary.computed, summary.failures) == (7, {})
    assert Breaking.calls == 3
    assert seven.log.notes == ["the compiled network failed (recompilation failed); continuing without compilation"]


def test_a_bug_of_the_network_itself_is_raised(seven):
    class Broken(Toy):
        def compile(self):
            return True

        def forward(self, waveforms, lengths):
            if len(lengths) != 2:  # the first call is to compile
                raise RuntimeError("a bug")
            return super().forward(waveforms, lengths)

    seven.backbone = Broken
    with pytest.raises(RuntimeError, match="a bug"):
        seven.run(seven.manifest(*NAMES), compile=True)


def test_auto_compiles_where_the_audio_repays_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++")
    enough = int(REPAID_AFTER_AUDIO_S["cpu"] / 5)
    assert is_repaid("cpu", [5.0] * enough)
    assert not is_repaid("cpu", [5.0] * (enough - 1))
    assert not is_repaid("cpu", [0.5] * 100 * enough), "short clips gain nothing"
    assert not is_repaid("cpu", [5.0] * enough + [0.5] * 11 * enough), "neither where they are most of it"
    assert not is_repaid("mps", [5.0] * 100 * enough)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not is_repaid("cpu", [5.0] * enough)


@pytest.mark.parametrize(("given", "audio_s", "expected"), [("auto", 0, True), ("auto", 1e9, False), (True, 1e9, True)])
def test_the_decision_is_stored_in_the_plan_and_used_by_a_resume(seven, monkeypatch, given, audio_s, expected):
    monkeypatch.setitem(REPAID_AFTER_AUDIO_S, "cpu", audio_s)
    monkeypatch.setattr("features.planning.resume.LONG_CLIP_S", 0.0)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++")
    asked = []

    class Observed(Toy):
        def compile(self):
            asked.append("compile")
            return False

    class Stopping(Observed):
        def forward(self, waveforms, lengths):
            raise RuntimeError("stop")

    seven.backbone = Stopping
    with pytest.raises(RuntimeError, match="stop"):
        seven.run(seven.manifest(*NAMES), compile=given)
    (plan,) = seven.cache.rglob(PLAN_FILE)
    assert f'"compile":{str(expected).lower()}' in plan.read_text()
    assert '"precision":"fp32"' in plan.read_text()
    asked.clear()
    seven.backbone = Observed
    summary = seven.run(seven.manifest(*NAMES), compile=False)
    assert asked == ["compile"] * expected
    assert len(verify_table(summary.path)) == 7
