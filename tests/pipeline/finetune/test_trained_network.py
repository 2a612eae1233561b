"""Files of networks trained end to end that cannot be used are named in one line."""

import pytest

from features.errors import WeightsError
from heads.finetuning.options import Recipe

pytest.importorskip("lightning")

from pipeline.finetune.models import InitialWeights
from pipeline.finetune.trained_network import load_network, window_length


def test_a_file_without_the_length_of_its_windows_is_named(tmp_path):
    assert window_length({"window_frames": 7}, tmp_path) == 7
    with pytest.raises(WeightsError, match=r"fold-1\.safetensors: does not record its window length; delete .*cnn and"):
        window_length({}, tmp_path / "cnn" / "fold-1.safetensors")


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "fold-1.safetensors").write_bytes(b"cut off")
    with pytest.raises(WeightsError, match=r"fold-1\.safetensors: cannot be read: "):
        load_network(tmp_path / "fold-1.safetensors", Recipe(name="cnn"), InitialWeights(), 2, "cpu")
