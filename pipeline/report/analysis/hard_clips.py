"""Clips that models misclassify: hardest for all, most confidently wrong for one, missed by all.

Wrong labels tend to be among these clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heads.evaluation.metrics import CLIP
from pipeline.report.analysis.outcomes import Outcomes


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
    """Return the mean difficulty of each clip over models, shape (N,); higher is harder.

    Single-label: 1 minus the probability of the true class. Multi-label: log loss in nats, mean over classes.
    Regression: absolute error. Values are averaged over the repetitions of a model, then over models, so each model
    has the same weight.
    """
    return np.mean([_difficulty(model).mean(axis=0) for model in models], axis=0)


def _difficulty(model: Outcomes) -> np.ndarray:
    """Return the difficulty of each clip for each repetition of one model, shape (R, N)."""
    values = model.probabilities.astype(np.float64)
    if model.task == "regression":
        return np.abs(values[..., 0] - model.targets)
    if model.task == "multi-label":
        of_truth = np.where(model.targets.astype(bool), values, 1 - values)
        return -np.log(np.clip(of_truth, CLIP, 1.0)).mean(axis=2)
    return 1 - np.take_along_axis(values, model.targets[None, :, None], axis=2)[..., 0]


def votes(models: Sequence[Outcomes]) -> np.ndarray:
    """Return the number of classifiers that predict each class of each clip, shape (N, C).

    Each repetition counts as a fraction of its model.
    """
    n_classes = models[0].probabilities.shape[2]
    single = models[0].task == "single-label"
    predicted = [np.eye(n_classes)[model.predicted] if single else model.predicted for model in models]
    return np.sum([one.mean(axis=0) for one in predicted], axis=0)


def hardest(models: Sequence[Outcomes], most: int) -> list[int]:
    """Return the clips with the highest `difficulty`, hardest first; ties are in page order."""
    return [int(clip) for clip in np.argsort(-difficulty(models).round(9), kind="stable")[:most]]


def most_confidently_wrong(model: Outcomes, most: int) -> list[Confident]:
    """Return the most confident errors of a classifier, one per clip, highest probability first.

    Probabilities are means over repetitions. A clip is listed if the prediction from these means is wrong.
    """
    probabilities = model.probabilities.astype(np.float64).mean(axis=0)  # (N, C)
    clips = np.arange(len(probabilities))
    if model.task == "multi-label":
        present = model.targets.astype(bool)
        against = np.where(present, 1 - probabilities, probabilities)
        label = against.argmax(axis=1)
        predicted = ~present[clips, label]
        confidence = against[clips, label]
        # A class with a probability of exactly 0.5 is predicted, see `heads.evaluation.predictions.THRESHOLD`.
        wrong = np.where(predicted, confidence >= 0.5, confidence > 0.5)
    else:
        label = probabilities.argmax(axis=1)
        predicted, confidence, wrong = np.ones(len(label), bool), probabilities[clips, label], label != model.targets
    ranked = [clip for clip in np.argsort(-confidence.round(9), kind="stable") if wrong[clip]]
    return [Confident(int(at), int(label[at]), bool(predicted[at]), float(confidence[at])) for at in ranked[:most]]


def missed_by_all(models: Sequence[Outcomes]) -> list[int]:
    """Return the clips that every repetition of every classifier gets wrong, hardest first.

    A `multi-label` clip is missed if every repetition of every model is wrong about the same class.
    """
    wrong = np.logical_and.reduce([model.wrong.all(axis=0) for model in models])
    missed = wrong.any(axis=1) if wrong.ndim == 2 else wrong
    return [clip for clip in hardest(models, len(missed)) if missed[clip]]
