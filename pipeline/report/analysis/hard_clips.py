"""Clips that models misclassify: hardest for all, most confidently wrong for one, missed by all.

Wrong labels tend to be among these clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report.outcomes.outcomes import Outcomes


@dataclass(frozen=True)
class Confident:
    """A clip that one model is wrong about.

    Attributes:
        clip: Its position in the page.
        label: The class the model is wrong about.
        predicted: Whether the model wrongly predicts `label`. False if it misses `label` (`multi-label` data only).
        probability: Probability of the wrong prediction, mean over repetitions, 0…1.
    """

    clip: int
    label: int
    predicted: bool
    probability: float


def difficulty(models: Sequence[Outcomes]) -> np.ndarray:
    """Return the mean of `Outcomes.difficulty` over models, shape (N,); higher is harder.

    Values are averaged over the repetitions of a model, then over models, so each model has the same weight.
    """
    return np.mean([model.difficulty for model in models], axis=0)


def votes(models: Sequence[Outcomes], clips: Sequence[int]) -> np.ndarray:
    """Return the number of classifiers that predict each class of n clips, shape (n, C).

    Each repetition counts as a fraction of its model.
    """
    found = np.zeros((len(clips), models[0].n_classes))
    rows = np.arange(len(clips))
    for model in models:
        for predicted in model.predicted(np.asarray(clips, dtype=np.int64)):
            if model.task == "multi-label":
                found += predicted / model.n_repetitions
            else:
                found[rows, predicted] += 1 / model.n_repetitions
    return found


def hardest(models: Sequence[Outcomes], most: int) -> list[int]:
    """Return the clips with the highest `difficulty`, hardest first; ties are in page order."""
    return [int(clip) for clip in np.argsort(-difficulty(models).round(9), kind="stable")[:most]]


def most_confidently_wrong(model: Outcomes, most: int) -> list[Confident]:
    """Return the most confident errors of a classifier, one per clip, highest probability first.

    Probabilities are means over repetitions. `Errors` says which predictions are wrong.
    """
    own = model.errors
    assert own is not None
    clips = np.flatnonzero(own.wrong)
    ranked = clips[np.argsort(-own.probability[clips].round(9), kind="stable")][:most]
    return [
        Confident(int(at), int(own.label[at]), bool(own.predicted[at]), float(own.probability[at])) for at in ranked
    ]


def missed_by_all(models: Sequence[Outcomes]) -> list[int]:
    """Return the clips that every repetition of every classifier gets wrong, hardest first.

    A `multi-label` clip is missed if every repetition of every model is wrong about the same class.
    """
    wrong = models[0].always_wrong()
    for model in models[1:]:
        wrong = wrong & model.always_wrong()
    missed = np.flatnonzero(wrong.any(axis=1) if wrong.ndim == 2 else wrong)
    is_missed = set(missed.tolist())
    return [clip for clip in hardest(models, models[0].n_clips) if clip in is_missed]
