"""Heads and end-to-end models on a device: the results of a CPU."""

import numpy as np
import pytest

from heads.finetuning.finetune import finetune
from heads.kinds.registry import options_class
from heads.models.options import CnnOptions, CrnnOptions, ImageOptions, M5Options
from heads.training.train import train_head
from tests.heads.learnables import Task, WaveformTask
from tests.heads.training.test_leak import N_CLASSES, SMALL, as_read, corpus, head_tasks
from tests.places import DEVICES, at_each

SHORT = {"epochs": 1, "batch_size": 8, "threads": 1, "precision": "fp32", "learning_rate": 0.01}
thorough = pytest.mark.thorough
NETWORKS = {
    "cnn": (Task, CnnOptions(name="cnn", channels=[4, 8], batch_norm=True, **SHORT)),
    "m5": (WaveformTask, M5Options(name="m5", channels=[8, 8, 8, 8], **SHORT)),
    "crnn": (Task, CrnnOptions(name="crnn", channels=[4], hidden=8, **SHORT)),
    "resnet18": (Task, ImageOptions(name="resnet18", weights="none", image_size=32, **SHORT)),
}


@at_each(*DEVICES)
@pytest.mark.parametrize(
    ("name", "task"),
    [pytest.param(name, task, marks=() if task == "single-label" else thorough) for name, task in head_tasks()],
)
def test_a_head_trains_and_predicts_as_on_a_cpu(there, name, task):
    features, targets, splits = corpus(task)
    given = dict(SMALL.get(name, {}))
    if (name, task) == ("sklearn", "regression"):
        given |= {"estimator": "sklearn.linear_model.Ridge"}
    options = options_class(name).model_validate({"name": name, **given})
    train = as_read(options, features)
    how = {"n_classes": 1 if task == "regression" else N_CLASSES, "task": task, "together": True}
    found, expected = (
        train_head(options, train, targets, splits[:2], [0], device=device, **how) for device in (there.device, "cpu")
    )
    assert all(np.isfinite(fit.probabilities).all() for fit in found.fits)
    if there.pretend is None:
        return  # a GPU draws other random numbers
    for one, other in zip(found.fits, expected.fits, strict=True):
        assert (one.configuration, one.layer) == (other.configuration, other.layer)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-3)
        assert {type(value) for value in one.state.values()} == {type(value) for value in other.state.values()}


@at_each(*DEVICES)
@pytest.mark.parametrize("name", ["cnn", "m5", *(pytest.param(name, marks=thorough) for name in ("crnn", "resnet18"))])
def test_an_epoch_of_a_network_gives_what_a_cpu_gives(there, name, tmp_path):
    pytest.importorskip("lightning")
    kind, options = NETWORKS[name]
    task = kind(options, n_clips=24)
    found, expected = (
        finetune(task.build, task.clips, task.rows, task.options, 0, tmp_path / device, device=device)
        for device in (there.device, "cpu")
    )
    assert found.state.epochs == 1
    if there.pretend is None:
        return  # a GPU draws other random numbers
    assert np.isclose(found.state.best_loss, expected.state.best_loss, rtol=1e-3)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-3)
