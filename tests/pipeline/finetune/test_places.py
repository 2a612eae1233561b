"""A backbone trained end to end on a device: the results of a CPU."""

import numpy as np
import pytest

from heads.finetuning.finetune import finetune
from pipeline.config.finetune_entries import options_class
from pipeline.finetune.models import builder, find_weights
from tests.heads.learnables import N_CLASSES, WaveformTask
from tests.places import DEVICES, at_each

SHORT = {"epochs": 1, "batch_size": 8, "threads": 1, "precision": "fp32", "dropout": 0.0}
LAYERS = {"num_hidden_layers": 1, "conv_dim": [16] * 3, "conv_kernel": [10, 8, 8], "conv_stride": [5, 8, 8]}
TINY = {"weights": "random", "size": "tiny", "architecture": LAYERS, "freeze_encoder": False}


class DeviceTask(WaveformTask):
    """The task with a backbone and a head as its network, on a device."""

    device = "cpu"

    def network(self):
        return builder(self.options, find_weights(self.options), self.frames.dim, N_CLASSES, self.device)()


@at_each(*DEVICES)
def test_an_epoch_of_a_backbone_gives_what_a_cpu_gives(there, tmp_path):
    pytest.importorskip("lightning")
    options = options_class("wav2vec2").model_validate({"name": "wav2vec2", **TINY, **SHORT})
    task = DeviceTask(options, n_clips=24)
    fits = {}
    for task.device in (there.device, "cpu"):
        folder = tmp_path / task.device
        fits[task.device] = finetune(task.build, task.clips, task.rows, options, 0, folder, device=task.device)
    found, expected = fits[there.device], fits["cpu"]
    assert found.state.epochs == 1
    if there.pretend is None:
        return  # a GPU draws other random numbers
    assert there.pretend.ran > 0, "it ran on the device"
    assert np.isclose(found.state.best_loss, expected.state.best_loss, rtol=1e-3)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-3)
