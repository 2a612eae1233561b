"""fp32 means float32 products and convolutions on every path, whatever the process and its environment allow."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from features import hear_api
from features.inference import device_resampling
from features.numerics import full_float32
from features.planning.precision import measure
from features.pooling import Moments
from tests.features.toys import NAMES, Toy, noise, toy_spec
from tests.paths import ROOT

backends = torch.backends
PARTS = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
PARTS += [backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn]
EXACT = ["ieee"] * len(PARTS)


def in_effect():
    """Return what float32 products and convolutions are computed in."""
    return [part.fp32_precision for part in PARTS]


def older():
    """Return the values of torch's older interface, whose readers raise an error if it disagrees with the newer."""
    values = []
    for read in (torch.get_float32_matmul_precision, lambda: backends.cuda.matmul.allow_tf32):
        try:
            values.append(read())
        except RuntimeError as error:
            values.append(str(error)[:40])
    return values


def older_interface():
    backends.cuda.matmul.allow_tf32 = True
    backends.cudnn.allow_tf32 = True


def newer_interface():
    for part in PARTS[:3]:
        part.fp32_precision = "tf32"


def everything():
    backends.fp32_precision = "tf32"


def everything_but_convolutions():
    backends.fp32_precision = "tf32"
    backends.cudnn.allow_tf32 = False


def bfloat16_on_the_cpu():
    backends.mkldnn.fp32_precision = "bf16"


def medium():
    torch.set_float32_matmul_precision("medium")


WAYS = [older_interface, newer_interface, everything, everything_but_convolutions, bfloat16_on_the_cpu, medium]


@pytest.fixture(params=[lambda: None, *WAYS], ids=lambda way: way.__name__.replace("<lambda>", "untouched"))
def allowed(request):
    """Allow shortcuts in one of the ways, and return the settings."""
    try:
        request.param()
        yield in_effect(), older()
    finally:
        backends.fp32_precision = backends.mkldnn.fp32_precision = backends.cudnn.fp32_precision = "none"
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = True
        for part in (backends.cuda.matmul, *PARTS[3:]):
            part.fp32_precision = "none"


@pytest.fixture
def seen(monkeypatch):
    """What was in effect whenever frames were pooled or audio was resampled on the device."""
    kept = []
    pooled, resampled = Moments.of, device_resampling.resample_batch
    monkeypatch.setattr(Moments, "of", lambda *given: kept.append(in_effect()) or pooled(*given))
    monkeypatch.setattr(
        device_resampling, "resample_batch", lambda *given: kept.append(in_effect()) or resampled(*given)
    )
    return kept


class Observed(Toy):
    """Appends what is in effect in `forward` to a list."""

    def __init__(self, spec, seen):
        super().__init__(spec)
        self.seen = seen

    def forward(self, waveforms, lengths):
        self.seen.append(in_effect())
        return super().forward(waveforms, lengths)


def test_shortcuts_are_off_inside_and_as_before_afterwards(allowed):
    with full_float32():
        with full_float32():
            assert in_effect() == EXACT
        assert in_effect() == EXACT, "only the outermost restores"
        assert older() == ["highest", False], "torch's compiler reads the older interface"
    assert (in_effect(), older()) == allowed


def test_a_later_setting_for_everything_still_reaches_its_parts():
    try:
        with full_float32():
            pass
        backends.mkldnn.fp32_precision = "bf16"
        assert backends.mkldnn.conv.fp32_precision == "bf16"
    finally:
        backends.mkldnn.fp32_precision = "none"


def test_threads_do_not_restore_while_others_compute(allowed):
    inside, done = threading.Event(), threading.Event()

    def short():
        with full_float32():
            inside.set()
            done.wait(10)

    other = threading.Thread(target=short)
    other.start()
    inside.wait(10)
    with full_float32():
        done.set()
        other.join()
        assert in_effect() == EXACT
    assert (in_effect(), older()) == allowed


def test_embedding_outside_a_run_and_the_precision_check_are_exact(allowed):
    seen = []
    backbone = Observed(toy_spec(), seen)
    backbone.embed([noise(1000)])
    measure(backbone, backbone, "bf16", [noise(1000)])
    assert seen == [EXACT] * 3


def test_the_models_for_hear_are_exact(allowed, seen, monkeypatch):
    model = hear_api.load_model("{name: logmel, pooling: [mean, std]}")
    forward = type(model._backbone).forward
    monkeypatch.setattr(type(model._backbone), "forward", lambda *given: seen.append(in_effect()) or forward(*given))
    hear_api.get_scene_embeddings(torch.zeros(1, 8000), model)
    assert seen == [EXACT] * 2


def test_a_run_is_exact_from_resampling_to_pooling(seven, seen, allowed):
    seven.backbone = lambda spec: Observed(spec, seen)
    seven.write("other.wav", noise(30_000), 16_000)
    seven.write("long.wav", noise(100_000))
    summary = seven.run(seven.manifest(*NAMES, "other.wav", "long.wav"), resample="device")
    assert summary.computed == 9
    assert len(seen) > 5
    assert all(now == EXACT for now in seen)


@pytest.mark.thorough
@pytest.mark.skipif("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE" in os.environ, reason="set for these tests already")
def test_the_variable_of_gpu_containers_does_not_count():
    code = """
import torch
from tests.features.test_numerics import EXACT, Observed, in_effect, noise, toy_spec
assert torch.backends.cuda.matmul.allow_tf32, "the variable is in effect"
seen = []
Observed(toy_spec(), seen).embed([noise(1000)])
assert seen == [EXACT], seen
"""
    environment = {**os.environ, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
