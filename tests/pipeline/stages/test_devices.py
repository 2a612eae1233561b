"""Devices that heads or end-to-end training cannot use: the CPU takes over and one line says so."""

import pytest

from features.errors import ConfigError
from pipeline.console import Console
from pipeline.finetune.experiment import trainer_device
from pipeline.stages import features
from pipeline.stages.train_heads import head_device


@pytest.fixture
def any_device(monkeypatch):
    """A machine that has every kind of device."""
    monkeypatch.setattr(features, "check_device", lambda device: device)


@pytest.mark.parametrize("device", ["mps", "xpu"])
def test_heads_go_to_the_cpu_where_there_is_no_double_precision(device, any_device, capsys):
    assert head_device(device, Console()) == "cpu"
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"heads: trained on the CPU, because they need double precision, which {device} does not have"


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_heads_stay_on_other_devices_without_a_word(device, any_device, capsys):
    assert head_device(device, Console()) == device
    assert capsys.readouterr() == ("", "")


def test_training_end_to_end_goes_to_the_cpu_where_lightning_has_no_device(any_device, capsys):
    assert [trainer_device(device, Console()) for device in ("xpu", "mps", "cuda")] == ["cpu", "mps", "cuda"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "finetune: models are trained on the CPU, because Lightning does not support xpu"


def test_a_device_that_is_absent_is_still_an_error():
    with pytest.raises(ConfigError, match="device 'xpu' is not available"):
        head_device("xpu", Console())
