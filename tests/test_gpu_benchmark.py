"""The benchmark for GPUs also runs on a CPU with tiny models, so that a fault is found before there is a GPU."""

import pytest
import torch

from benchmarks.gpu.__main__ import main
from tests.pretend_cuda import PretendCuda


@pytest.mark.e2e
def test_every_row_runs_with_tiny_models_on_a_cpu(capsys):
    assert main(["--tiny", "--device", "cpu"]) == 0
    output = capsys.readouterr().out
    assert "these figures mean nothing" in output
    for row in ("families: wav2vec2-base, fp32", "speed: ast", "heads: linear", "resnet: ResNet18"):
        assert row in output


@pytest.mark.e2e
def test_the_rows_about_memory_run_on_the_pretend_device(capsys):
    with PretendCuda(memory=2**28):
        assert main(["--tiny", "--only", "memory"]) == 0
    output = capsys.readouterr().out
    assert "memory: forced out of memory, 128 clips: largest error" in output
    assert "nan" not in output


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_without_a_gpu_it_says_how_to_test_the_script(capsys):
    assert main([]) == 2
    assert "--tiny --device cpu" in capsys.readouterr().out


def test_an_unknown_row_is_one_line(capsys):
    assert main(["--device", "cpu", "--tiny", "--only", "spede"]) == 2
    assert "no row spede; rows are families, memory" in capsys.readouterr().out
