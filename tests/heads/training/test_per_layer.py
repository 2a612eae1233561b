"""Test predictions on every layer: each layer's own choice by validation, without effect on other results."""

import numpy as np
import pytest

from heads.kinds.knn import KnnOptions
from heads.kinds.linear import LinearOptions
from heads.kinds.mlp import MlpOptions
from heads.kinds.weighted_sum import WeightedSumOptions
from heads.splits.protocol import Split
from heads.training.train import train_head

N, LAYERS, DIMS, CLASSES = 90, 3, 8, 3
HEADS = [
    LinearOptions(l2=[1.0, 0.01]),
    KnnOptions(k=[1, 3]),
    MlpOptions(hidden=[4, 8], learning_rate=[1e-2], max_epochs=5),
]


def corpus():
    rng = np.random.default_rng(0)
    targets = np.arange(N) % CLASSES
    signal = np.eye(CLASSES, DIMS)[targets][:, None] * np.array([0.2, 1.0, 2.5])[:, None]
    features = (rng.normal(size=(N, LAYERS, DIMS)) + signal).astype(np.float32)
    parts = np.array_split(np.arange(N), 3)
    return features, targets, [Split(f"f{k}", parts[(k + 2) % 3], parts[(k + 1) % 3], parts[k]) for k in range(3)]


def train(options, **more):
    features, targets, splits = corpus()
    given = {"n_classes": CLASSES, "layer_names": [0, 4, 9], "keep_layers": True} | more
    return train_head(options, features, targets, splits, [0, 1], **given)


@pytest.mark.parametrize("options", HEADS, ids=lambda one: one.name)
def test_the_chosen_layers_own_fit_predicts_as_the_chosen_head(options):
    result = train(options)
    assert [(one.fold, one.layer, one.seed) for one in result.layers] == [
        (f"f{fold}", layer, seed) for fold in range(3) for layer in (0, 4, 9) for seed in (0, 1)
    ]
    by_place = {(one.fold, one.seed, one.layer): one for one in result.layers}
    for fit in result.fits:
        own = by_place[fit.fold, fit.seed, fit.layer]
        assert np.array_equal(own.probabilities, fit.probabilities) and own.configuration == fit.configuration
        assert np.array_equal(own.test_rows, fit.test_rows)


@pytest.mark.parametrize("options", HEADS, ids=lambda one: one.name)
def test_each_layer_takes_its_own_best_configuration_by_validation(options):
    result = train(options)
    for one in result.layers:
        scores = [score for score in result.candidates[one.fold, 0] if score.layer == one.layer]
        best = min(scores, key=lambda score: score.valid_loss)
        assert (one.configuration, one.valid_loss) == (best.configuration, pytest.approx(best.valid_loss))
    for one in result.layers[6:12:2]:  # of the second fold
        alone = options.model_copy(
            update={key: [value] for key, value in one.configuration.items()} | {"layers": [one.layer]}
        )
        fits = {(fit.fold, fit.seed): fit for fit in train(alone).fits}
        assert np.allclose(fits[one.fold, one.seed].probabilities, one.probabilities, atol=1e-5)


def test_keeping_them_changes_nothing_else():
    kept, without = train(HEADS[2]), train(HEADS[2], keep_layers=False)
    assert without.layers == () and kept.candidates == without.candidates
    for one, other in zip(kept.fits, without.fits, strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)


def test_there_are_none_where_no_layer_is_chosen():
    assert train(WeightedSumOptions(max_epochs=2)).layers == ()
    assert train(LinearOptions(layers="last", l2=[1.0, 0.1])).layers == ()


def test_the_last_layer_tells_most_as_it_was_made_to():
    targets = corpus()[1]
    right = {
        layer: np.mean(
            [
                (one.probabilities.argmax(1) == targets[one.test_rows]).mean()
                for one in train(HEADS[0]).layers
                if one.layer == layer
            ]
        )
        for layer in (0, 4, 9)
    }
    assert right[0] < right[4] < right[9]
