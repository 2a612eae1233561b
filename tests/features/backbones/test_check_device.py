"""A device that cannot be used is one line that says why and what would work."""

import pytest
import torch

from features.backbones.base import check_device
from features.errors import ConfigError
from tests.pretend_cuda import PretendCuda


def problem(device):
    with pytest.raises(ConfigError) as caught:
        check_device(device)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_number_beyond_the_last_gpu(monkeypatch):
    with PretendCuda(), monkeypatch.context() as patch:  # undone before the device is
        assert check_device("cuda") == "cuda"
        assert problem("cuda:3").endswith("there is one here, cuda:0; use one of these, or cpu")
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        patch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
        assert problem("cuda:3") == (
            "device 'cuda:3' is not available: there are 2 here, cuda:0 to cuda:1 (CUDA_VISIBLE_DEVICES=4,5); "
            "use one of these, or cpu"
        )


@pytest.mark.parametrize("visible", ["", "-1"])
def test_gpus_that_are_hidden(monkeypatch, visible):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert problem("cuda").endswith(f"CUDA_VISIBLE_DEVICES={visible} hides all GPUs; unset it, or use cpu")


def test_a_torch_without_cuda(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "this torch is built for the CPU only" in problem("cuda:0")


def test_a_driver_that_is_too_old(monkeypatch):
    def refuse(*size, device):
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update\nit")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch, "empty", refuse)
    assert "too old (found version 11040)" in problem("cuda")
    assert problem("cuda").endswith("; use cpu")


def test_a_gpu_whose_memory_others_use():
    with PretendCuda(memory=10) as device:
        kept = torch.zeros(2, device="cuda")
        device.memory = 0
        device.allocated += 1
        try:
            assert "nvidia-smi lists what uses it" in problem("cuda")
        finally:
            device.allocated -= 1
    assert len(kept) == 2


def test_what_is_no_device():
    assert "use cpu" in problem("cuba")
