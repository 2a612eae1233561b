"""Heads that are trained by steps stay within their memory, and the division of the job changes no bit."""

import math
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.errors import ConfigError, RunError
from heads.batched.stepped import early_stopping, minibatches, plan
from heads.kinds.mlp import MlpOptions
from heads.kinds.weighted_sum import WeightedSumOptions
from heads.splits.protocol import Split, Splits
from heads.training.train import train_head
from tests import processes

N, N_LAYERS, DIM, N_CLASSES = 260, 2, 21, 5
HEADS = [
    MlpOptions(hidden=16, learning_rate=[1e-2, 1e-3], max_epochs=3, class_weight="balanced"),
    WeightedSumOptions(learning_rate=[1e-2, 1e-3], max_epochs=3),
]
by_head = pytest.mark.parametrize("options", HEADS, ids=lambda options: options.title)
MIB = 2**20


def clips(task="single-label", n=N, n_layers=N_LAYERS, dim=DIM, n_classes=N_CLASSES):
    """Features that tell a little about the targets, and folds of unequal sizes."""
    rng = np.random.default_rng(0)
    classes = np.arange(n) % n_classes
    features = rng.standard_normal((n, n_layers, dim), dtype=np.float32)
    features[:, -1] += rng.standard_normal((n_classes, dim), dtype=np.float32)[classes]
    targets = {
        "single-label": classes,
        "multi-label": np.eye(n_classes, dtype=np.float32)[classes],
        "regression": classes + rng.normal(size=n),
    }[task]
    fold = np.minimum(np.arange(n) * 3 // n + (np.arange(n) % 7 == 0), 2)
    splits = [Split(k, *(np.flatnonzero((fold - k) % 3 == part) for part in (2, 1, 0))) for k in range(2)]
    return features, targets, splits


def train(options, data, task="single-label", seeds=(0, 1), n_classes=N_CLASSES, **more):
    n_classes = 1 if task == "regression" else n_classes
    return train_head(options, *data, list(seeds), n_classes=n_classes, task=task, **more)


def bits(result):
    """Everything that a result contains, by fold and seed."""
    return {
        (fit.fold, fit.seed): (
            fit.probabilities.tobytes(),
            fit.valid_loss,
            fit.epochs,
            {name: array.tobytes() for name, array in fit.state.items()},
        )
        for fit in result.fits
    }


def spill(monkeypatch):
    """Put the rows of every block in a temporary file."""

    def spilled(*arguments):
        return replace(plan.plan_job(*arguments), spilled=True, n_blocks=1, tile_bytes=7000)

    monkeypatch.setattr(early_stopping, "plan_job", spilled)


@by_head
@pytest.mark.parametrize("task", ["single-label", "multi-label", "regression"])
def test_rows_from_a_temporary_file_give_the_same_bits(options, task, monkeypatch):
    data = clips(task)
    held = bits(train(options, data, task, refit=True))
    spill(monkeypatch)
    assert bits(train(options, data, task, refit=True)) == held
    cores = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert bits(train(options, data, task, refit=True)) == held
    finally:
        torch.set_num_threads(cores)


@by_head
def test_a_fit_alone_has_the_bits_of_the_batch(options):
    features, targets, splits = clips()
    batch = train(options, (features, targets, splits), together=True)
    for fit in batch.fits:
        changes = {key: [value] for key, value in fit.configuration.items()}
        if fit.layer != "all":
            changes["layers"] = [fit.layer]
        split = next(split for split in splits if split.fold == fit.fold)
        alone = train(options.model_copy(update=changes), (features, targets, [split]), seeds=[fit.seed])
        assert bits(alone)[fit.fold, fit.seed] == bits(batch)[fit.fold, fit.seed]


@by_head
@pytest.mark.parametrize("task", ["single-label", "regression"])
def test_validation_in_parts_is_that_of_all_rows(options, task, monkeypatch):
    options = options.model_copy(update={"loss": "ccc"}) if task == "regression" else options
    data = clips(task)
    whole = train(options, data, task)
    monkeypatch.setattr(plan, "SCORES_BYTES", 1)
    monkeypatch.setattr(minibatches, "SCORES_BYTES", 1)  # 32 rows of one fit
    for fold, scores in train(options, data, task).candidates.items():
        for one, other in zip(scores, whole.candidates[fold], strict=True):
            assert one.valid_loss == pytest.approx(other.valid_loss, rel=1e-6)


@by_head
def test_less_memory_than_a_minibatch_is_refused_in_one_line(options):
    expected = r"heads_memory_gib: 3.1e-05 is too little for .*; one minibatch of 32 clips needs 0.000\d+$"
    with pytest.raises(ConfigError, match=expected):
        train(options, clips(), memory=2**15)


def test_a_temporary_file_without_space_is_one_line(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full/none")
    spill(monkeypatch)
    with pytest.raises(RunError, match=r"GB of rows cannot be written to a temporary file in .*TMPDIR"):
        train(HEADS[0], clips())


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_ten_thousand_classes_one_of_which_has_one_clip(task):
    n_classes = 10_000
    features, _, [split, _] = clips()
    used = np.random.default_rng(1).permutation(n_classes)[:N]
    targets = used
    if task == "multi-label":
        targets = np.zeros((N, n_classes), dtype=np.float32)
        targets[np.arange(N), used] = 1
        targets[split.train[0], np.setdiff1d(np.arange(n_classes), used)[:500]] = 1
    for options in HEADS:
        options = options.model_copy(update={"learning_rate": [1e-2], "max_epochs": 1})
        lacking = Splits("kfold", (split,), (), "score")  # most classes have no training clip
        [fit] = train(options, (features, targets, lacking), task, seeds=[0], n_classes=n_classes).fits
        assert fit.probabilities.shape == (len(split.test), n_classes) and np.isfinite(fit.valid_loss)


def train_limited(name, n, n_layers, dim, n_classes, memory, limit):
    """Train one epoch with `limit` more bytes of address space than the features need."""
    torch.set_num_threads(1)
    options = (MlpOptions if name == "mlp" else WeightedSumOptions)(max_epochs=1)
    train(options, clips(), seeds=[0])  # what is loaded once
    data = clips(n=n, n_layers=n_layers, dim=dim, n_classes=n_classes)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + limit, resource.RLIM_INFINITY))
    notes = []
    result = train(options, data, seeds=[0], n_classes=n_classes, memory=memory, note=notes.append)
    sys.stdout.write(f"{result.fits[0].valid_loss} {notes}")


SIZES = {
    # The rows of a fold, two thirds of the array: held, and in a file.
    "weighted-sum, held": ("weighted-sum", 4000, 13, 512, 10, 2**31, 1.0),
    "weighted-sum, spilled": ("weighted-sum", 4000, 13, 512, 10, 64 * MIB, 0.45),
    # Dense targets would be 30 MB of float32 for each of seven layers.
    "mlp, 1,251 classes": ("mlp", 9000, 7, 64, 1251, 2**31, 4.5),
}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's count of the address space")
@pytest.mark.parametrize("case", SIZES)
def test_address_space(case):
    *given, times = SIZES[case]
    limit = int(times * 4 * math.prod(given[1:4]))  # of the features' size
    done = processes.run(train_limited, *given, limit, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.isfinite(float(done.stdout.split()[0]))
    assert ("temporary file" in done.stdout) == ("spilled" in case)
