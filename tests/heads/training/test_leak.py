"""No leak from test rows: with a fold's test labels permuted, all its choices and fits stay bit-equal."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.manifest import Manifest
from heads.batched.frame_blocks import ClipLayers
from heads.kinds.registry import HEADS, options_class
from heads.splits.protocol import make_splits
from heads.training.train import train_head
from tests.heads.learnables import Stored

N_CLIPS, N_LAYERS, N_DIMS, N_CLASSES = 96, 3, 6, 4
TASKS = ("single-label", "multi-label", "regression")
NEED_CLASSES = {"prototype"}  # heads without regression
# Small grids for those whose defaults take long or offer no choice; any other head runs as it comes.
SMALL = {
    "mlp": {"hidden": [4, 8], "learning_rate": [1e-2, 1e-3], "max_epochs": 4},
    "weighted-sum": {"learning_rate": [1e-2, 1e-3], "max_epochs": 4},
    "attention": {"units": [4], "learning_rate": [1e-2, 1e-3], "max_epochs": 2},
    "layer-attention": {"units": [4], "learning_rate": [1e-2, 1e-3], "max_epochs": 2},
}


def corpus(task):
    """Clips in four folds, labels that features tell a little about."""
    rng = np.random.default_rng(0)
    classes = np.arange(N_CLIPS) % N_CLASSES
    signal = np.eye(N_CLASSES, N_DIMS)[classes][:, None] * np.array([0.0, 0.5, 1.0])[:, None]
    features = (rng.normal(size=(N_CLIPS, N_LAYERS, N_DIMS)) + signal).astype(np.float32)
    targets = {
        "single-label": classes,
        "multi-label": (np.eye(N_CLASSES)[classes] + (rng.random((N_CLIPS, N_CLASSES)) < 0.2) > 0).astype(np.float32),
        "regression": classes + rng.normal(size=N_CLIPS),
    }[task]
    ids = [f"c{row:03d}" for row in range(N_CLIPS)]
    folds = np.arange(N_CLIPS) // N_CLASSES % 4 + 1
    manifest = Manifest("toy", ".", pd.DataFrame({"id": ids, "path": ids, "label": classes, "fold": folds}))
    return features, targets, make_splits(manifest, "folds").splits


def as_read(options, features):
    """The features as a head reads them: pooled, or as three noisy frames of each clip."""
    if not options.reads_frames:
        return features
    noise = np.random.default_rng(2).normal(size=(len(features), 3, features[0].size))
    frames = Stored(list((features.reshape(len(features), 1, -1) + 0.3 * noise).astype(np.float32)))
    return ClipLayers(frames, np.arange(len(features)), range(N_LAYERS))


def trained(name, task, features, targets, splits):
    """All results of each fold: every candidate's score, and every chosen fit."""
    given = dict(SMALL.get(name, {}))
    if (name, task) == ("sklearn", "regression"):
        given |= {"estimator": "sklearn.linear_model.Ridge", "parameters": {"alpha": [0.1, 10.0]}}
    options = options_class(name).model_validate({"name": name, **given})
    result = train_head(
        options,
        as_read(options, features),
        targets,
        splits,
        [0, 1],
        n_classes=1 if task == "regression" else N_CLASSES,
        task=task,
        keep_layers=True,
    )
    return {
        split.fold: {
            "layers": [
                (fit.layer, fit.seed, fit.configuration, fit.valid_loss, fit.probabilities.tobytes())
                for fit in result.layers
                if fit.fold == split.fold
            ],
            "candidates": [str(score) for score in result.candidates[split.fold, 0]],
            "fits": [
                {
                    "chosen": (fit.configuration, fit.layer, fit.valid_loss, fit.epochs),
                    "predicted": fit.probabilities.tobytes(),
                    "state": {key: np.asarray(value).tobytes() for key, value in fit.state.items()},
                }
                for fit in result.fits
                if fit.fold == split.fold
            ],
        }
        for split in splits
    }


def permuted(targets, rows):
    """The targets, permuted among some rows."""
    dealt = targets.copy()
    dealt[rows] = targets[rows][np.random.default_rng(1).permutation(len(rows))]
    assert (dealt != targets).sum() > len(rows) / 3
    return dealt


def head_tasks():
    """Every head with every task that it takes."""
    return [(name, task) for name in HEADS for task in TASKS if task != "regression" or name not in NEED_CLASSES]


@pytest.mark.parametrize(("name", "task"), head_tasks())
def test_permuted_test_labels_change_nothing_for_their_fold(name, task):
    features, targets, splits = corpus(task)
    before = trained(name, task, features, targets, splits)
    own = splits[1]
    after = trained(name, task, features, permuted(targets, own.test), splits)
    assert after[own.fold] == before[own.fold]
    assert all(after[split.fold] != before[split.fold] for split in splits if split is not own)


@pytest.mark.parametrize("name", HEADS)
def test_choosing_by_test_rows_would_be_noticed(name):
    features, targets, splits = corpus("single-label")
    cheats = [replace(split, valid=split.test) for split in splits]
    before = trained(name, "single-label", features, targets, cheats)
    after = trained(name, "single-label", features, permuted(targets, cheats[1].test), cheats)
    assert after[cheats[1].fold] != before[cheats[1].fold]
