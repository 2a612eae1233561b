"""Which number types a device computes itself."""

import pytest
import torch

from features.planning.precision import auto_precision
from features.system.number_types import has_bf16, has_float64
from heads.finetuning.inference import resolve_precision


def pretend(monkeypatch, *, native):
    """A CUDA device that has bf16 instructions, or emulates them like a T4."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)


@pytest.mark.parametrize("native", [True, False])
def test_auto_ignores_emulated_bf16_in_stage_1_and_in_fine_tuning(native, monkeypatch):
    pretend(monkeypatch, native=native)
    assert has_bf16("cuda") == native
    expected = "bf16" if native else "fp32"
    assert (auto_precision("cuda"), resolve_precision("auto", "cuda")) == (expected, expected)
    assert resolve_precision("bf16", "cuda") == "bf16"  # asked for


def test_fine_tuning_on_other_devices_stays_fp32_by_default():
    assert [resolve_precision("auto", device) for device in ("cpu", "mps", "xpu")] == ["fp32"] * 3


def test_double_precision_by_kind_of_device():
    assert {kind: has_float64(kind) for kind in ("cpu", "cuda", "cuda:1", "mps", "xpu")} == {
        "cpu": True,
        "cuda": True,
        "cuda:1": True,
        "mps": False,
        "xpu": False,
    }
