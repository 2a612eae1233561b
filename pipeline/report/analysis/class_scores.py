"""Scores of each class by every model, and the confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heads.evaluation.scores import CLASS_SCORES
from pipeline.report.outcomes.confusions import Confusions
from pipeline.report.study import Study, StudyModel


def matrices_of(study: Study) -> list[Confusions]:
    """Return the confusion matrix or the decisions of each model but the majority row."""
    return [model.confusions for model in study.learned if model.confusions is not None]


def class_scores(model: StudyModel, labels: Sequence[str]) -> dict[int, tuple[float, float | None, float | None]]:
    """Return the score of each tested class by class number: (score, low, high).

    The score is accuracy, or average precision for `multi-label` data, from `results.json`. Ends of the interval are
    None if it was not stored.
    """
    name = next(score.name for score in CLASS_SCORES.values() if score.name in model.details)
    values: Mapping[str, float] = model.details[name]
    intervals: Mapping[str, Sequence[float]] = model.details.get(f"{name}_ci", {})
    return {
        number: (values[label], *(intervals.get(label) or (None, None)))
        for number, label in enumerate(labels)
        if label in values
    }


def order_of_classes(study: Study, scores: Sequence[Mapping[int, tuple[Any, ...]]]) -> list[int]:
    """Return the tested classes, lowest mean score first; untrained controls count only if there are no others."""
    counting = [one for model, one in zip(study.learned, scores, strict=True) if not model.is_control] or scores
    means = {at: float(np.mean([one[at][0] for one in counting])) for at in counting[0]}
    return sorted(means, key=lambda at: (round(means[at], 9), at))
