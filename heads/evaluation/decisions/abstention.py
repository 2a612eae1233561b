"""Accuracy of a model that answers only the clips it is most certain of (selective classification).

El-Yaniv and Wiener (2010) and Geifman and El-Yaniv (2017) describe the curve of accuracy against coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heads.evaluation import metrics
from heads.evaluation.class_scores import Estimate, ratio_interval
from heads.evaluation.predictions import Predictions

COVERAGES = np.round(np.linspace(0.05, 1, 20), 2)


@dataclass(frozen=True)
class Selective:
    """One point of the curve.

    Attributes:
        coverage: Fraction of the clips that are answered.
        threshold: Lowest probability of an answered clip, mean over repetitions.
        accuracy: Correct fraction of the answered clips, with its 95 % interval clustered by group.
    """

    coverage: float
    threshold: float
    accuracy: Estimate


def coverage_curve(predictions: Sequence[Predictions], groups: np.ndarray) -> list[Selective]:
    """Compute the accuracy at each of `COVERAGES`.

    Args:
        predictions: Predictions of one `single-label` model, all folds and repetitions.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
    """
    pooled = list(metrics.pool(predictions).values())
    numbers = np.unique(groups, return_inverse=True)[1]
    certainty = np.stack([one.scores.max(axis=1) for one in pooled])  # (R, n)
    correct = np.stack([one.predicted == one.targets for one in pooled])
    order = np.argsort(-certainty, axis=1, kind="stable")
    found = []
    for coverage in COVERAGES:
        count = max(1, round(coverage * len(groups)))
        answered = np.zeros(certainty.shape)
        np.put_along_axis(answered, order[:, :count], 1.0, axis=1)
        accuracy = ratio_interval(answered * correct, answered, numbers)
        assert accuracy is not None
        lowest = np.take_along_axis(certainty, order[:, count - 1 : count], axis=1)
        found.append(Selective(float(coverage), float(lowest.mean()), accuracy))
    return found
