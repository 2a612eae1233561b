"""How well a score separates clips of known classes from those of a class that was left out of training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from heads.evaluation.class_scores import Estimate
from heads.evaluation.decisions.ranking_scores import mean_of, ranking_scores, replicate, worth_of_ranking


def unknown_auroc(
    scores: Mapping[int, np.ndarray], classes: np.ndarray, groups: np.ndarray
) -> tuple[dict[int, Estimate], Estimate | None]:
    """Compute the area under the ROC curve for each class that was left out, and its mean over these classes.

    An area of 1 means that every clip of the other classes has a higher score than any clip of the class; chance is
    0.5. Intervals are a jackknife over groups, see `heads.evaluation.decisions.ranking_scores`.

    Args:
        scores: By class that was left out, the score of each test clip, higher for known classes, shape (R, n) for R
            repetitions.
        classes: Class of each test clip, shape (n,) int.
        groups: Group of each test clip, shape (n,).

    Returns:
        By class, the area with its 95 % interval, for classes with test clips; and the mean, None without such classes.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    known = {own: classes != own for own in scores if (classes == own).any() and not (classes == own).all()}
    each = {own: replicate([[(one, is_known)] for one in scores[own]], numbers) for own, is_known in known.items()}
    found = {}
    for own, replicated in each.items():
        estimate = ranking_scores(replicated, numbers, worth_of_ranking(known[own], numbers)).roc_auc
        assert estimate is not None
        found[own] = estimate
    if not found:
        return {}, None
    worth = worth_of_ranking(np.stack([~one for one in known.values()], axis=1), numbers)
    return found, ranking_scores(mean_of(each.values()), numbers, worth).roc_auc
