"""Curves of the thresholds of a model: the decisions on all classes are added up by group."""

from dataclasses import asdict
from functools import reduce
from operator import add

import numpy as np

from heads.evaluation.decisions.threshold_outcomes import curve, curve_counts, curve_rates
from heads.evaluation.predictions import Predictions
from pipeline.results.decisions.threshold_rows import MICRO, ThresholdsOfModel

LABELS = ("a", "b", "c")


def test_curves_are_those_of_the_classes_added_up_by_group():
    rng = np.random.default_rng(0)
    targets, groups = rng.integers(3, size=40), np.sort(rng.integers(7, size=40))
    ids = np.array([f"{row:02d}" for row in range(40)], dtype=object)
    scores = rng.dirichlet(np.ones(3), size=(2, 40)).astype(np.float32)
    fits = [Predictions(one, targets, ids, 1, seed, "m", "linear", "mean") for seed, one in enumerate(scores)]
    found = ThresholdsOfModel(fits, {}, groups, LABELS).curves()

    numbers = np.unique(groups, return_inverse=True)[1]
    each = [curve_counts(scores[:, :, own], targets == own, numbers) for own in range(3)]
    assert found[MICRO] == [asdict(point) for point in curve(reduce(add, each))]
    assert found["classes"] == {label: curve_rates(counts) for label, counts in zip(LABELS, each, strict=True)}
