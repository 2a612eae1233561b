"""Maps and thresholds come from validation predictions only, are stored exactly, and decide each fold by its own."""

from dataclasses import replace

import numpy as np
import pytest

from features.errors import WeightsError
from heads.evaluation.decisions.calibrators import METHODS
from heads.evaluation.decisions.operating_points import Rule
from heads.evaluation.metrics import macro_f1, pool
from heads.evaluation.predictions import Predictions
from heads.kinds.registry import options_class
from heads.training.train import train_head
from pipeline.results.decisions.fit_decisions import (
    decided,
    fit_decisions,
    key_of,
    read_decisions,
    read_settings,
    write_decisions,
)
from pipeline.results.run_folder import write_json
from tests.heads.training.test_leak import N_CLASSES, corpus, permuted

RULES = (Rule("max_f1"), Rule("min_precision", 0.8, "unknown"), Rule("min_recall", 0.9))


def fitted(task, targets, features, splits, method, rule):
    """The stored maps and thresholds of each fold and seed."""
    options = options_class("linear").model_validate({"name": "linear", "l2": [1e-1, 1.0]})
    result = train_head(options, features, targets, splits, [0, 1], n_classes=N_CLASSES, task=task, keep_valid=True)
    validation = [
        Predictions(
            fit.valid_probabilities, targets[fit.valid_rows], fit.valid_rows, fit.fold, fit.seed, "m", task=task
        )
        for fit in result.fits
    ]
    found = fit_decisions(validation, method, rule)
    return {key: (own.calibrator.stored(), own.point.stored()) for key, own in found.items()}


def before_and_after(task, method, rule, splits_of=lambda splits: splits):
    """Decisions before and after the test labels of the second fold are permuted, and its name."""
    features, targets, splits = corpus(task)
    splits = splits_of(splits)
    own = splits[1]
    dealt = permuted(targets, own.test)
    return (*(fitted(task, of, features, splits, method, rule) for of in (targets, dealt)), str(own.fold))


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
@pytest.mark.parametrize(("method", "rule"), list(zip(METHODS, RULES, strict=True)))
def test_permuted_test_labels_leave_maps_and_thresholds_bit_equal(task, method, rule):
    before, after, fold = before_and_after(task, method, rule)
    assert len(before) == 8
    for key, own in before.items():
        assert (after[key] == own) == (key[0] == fold)


@pytest.mark.parametrize(("method", "rule"), list(zip(METHODS, RULES, strict=True)))
def test_fitting_on_test_clips_would_be_noticed(method, rule):
    def cheat(splits):
        return [replace(split, valid=split.test) for split in splits]

    before, after, fold = before_and_after("single-label", method, rule, cheat)
    assert all(after[key] != own for key, own in before.items() if key[0] == fold)


def folds(task="multi-label"):
    """Predictions of two folds whose best thresholds differ."""
    rng = np.random.default_rng(0)
    found = []
    for fold, best in ((1, 0.2), (2, 0.7)):
        probabilities = rng.random((200, 3)).astype(np.float32)
        targets = (probabilities > best).astype(int)
        ids = np.array([f"{fold}-{row:03d}" for row in range(200)], dtype=object)
        found.append(Predictions(probabilities, targets, ids, fold, 0, "m", task=task))
    return found


def test_each_fold_is_decided_by_its_own_thresholds():
    predictions = folds()
    decisions = fit_decisions(predictions, None, Rule("max_f1"))
    thresholds = [decisions[key_of(one)].point.thresholds for one in predictions]
    assert np.allclose(thresholds[0], 0.2, atol=0.02) and np.allclose(thresholds[1], 0.7, atol=0.02)
    by_thresholds = decided(predictions, decisions)
    assert macro_f1(by_thresholds) == 1 > macro_f1(predictions)
    (pooled,) = pool(by_thresholds).values()
    assert np.array_equal(pooled.predicted, pooled.targets)
    assert np.array_equal(pooled.probabilities, next(iter(pool(predictions).values())).probabilities)


@pytest.mark.parametrize("method", METHODS)
def test_thresholds_are_on_the_scale_of_the_map(method):
    predictions = folds()
    plain, mapped = (decided(predictions, fit_decisions(predictions, one, Rule("max_f1"))) for one in (None, method))
    agreement = np.mean([(a.decided == b.decided).mean() for a, b in zip(plain, mapped, strict=True)])
    assert agreement > 0.99


def test_decisions_survive_their_file(tmp_path):
    predictions = folds()
    decisions = fit_decisions(predictions, "isotonic", Rule("min_recall", 0.9))
    assert read_decisions(tmp_path, 3) == {} and read_settings(tmp_path) is None
    write_decisions(tmp_path, {"calibrate": "isotonic"}, decisions)
    again = read_decisions(tmp_path, 3)
    assert read_settings(tmp_path) == {"calibrate": "isotonic"} and again.keys() == decisions.keys()
    for key, own in decisions.items():
        assert again[key].calibrator.stored() == own.calibrator.stored()
        assert again[key].point.stored() == own.point.stored()
    with pytest.raises(WeightsError, match=r"decisions\.json: its calibration does not fit 4 classes"):
        read_decisions(tmp_path, 4)
    write_json(tmp_path / "decisions.json", {"settings": None})
    assert read_decisions(tmp_path, 3) == {} and read_settings(tmp_path) is None
