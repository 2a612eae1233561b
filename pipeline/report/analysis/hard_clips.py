"""Clips that models fail on: hardest for all, most confidently wrong for one, missed by every one.

Where labels are wrong, it is among these clips that it shows.
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
        label: The class the model is wrong about: predicted, or missed where `said` is False.
        said: Whether the model says `label` (wrongly); False, of `multi-label` data, where it denies it.
        sureness: Probability the model gives that wrong answer, mean over repetitions, 0…1.
    """

    clip: int
    label: int
    said: bool
    sureness: float


def difficulty(models: Sequence[Outcomes]) -> np.ndarray:
    """How hard each clip is for some models together, shape (N,): the higher, the harder.

    Single-label: 1 minus the probability of the true class, mean over models and repetitions. Multi-label: log
    loss of the classes' decisions in nats, mean over classes, models and repetitions. Regression: absolute
    error, mean likewise. Every model counts alike, however often it was repeated.
    """
    return np.mean([_difficulty(model).mean(axis=0) for model in models], axis=0)


def _difficulty(model: Outcomes) -> np.ndarray:
    """As `difficulty`, of each repetition, (R, N)."""
    said = model.probabilities.astype(np.float64)
    if model.task == "regression":
        return np.abs(said[..., 0] - model.targets)
    if model.task == "multi-label":
        of_truth = np.where(model.targets.astype(bool), said, 1 - said)
        return -np.log(np.clip(of_truth, CLIP, 1.0)).mean(axis=2)
    return 1 - np.take_along_axis(said, model.targets[None, :, None], axis=2)[..., 0]


def votes(models: Sequence[Outcomes]) -> np.ndarray:
    """How many of some classifiers say each class of each clip, shape (N, C); a model that wavers counts in parts."""
    n_classes = models[0].probabilities.shape[2]
    single = models[0].task == "single-label"
    said = [np.eye(n_classes)[model.predicted] if single else model.predicted for model in models]
    return np.sum([one.mean(axis=0) for one in said], axis=0)


def hardest(models: Sequence[Outcomes], most: int) -> list[int]:
    """The clips of highest `difficulty`, hardest first; equals in the page's order."""
    return [int(clip) for clip in np.argsort(-difficulty(models).round(9), kind="stable")[:most]]


def most_confidently_wrong(model: Outcomes, most: int) -> list[Confident]:
    """The wrong answers that a classifier gives with the highest probability, one per clip, surest first.

    Probabilities are means over repetitions; a clip stands here where the answer they lead to is wrong.
    """
    said = model.probabilities.astype(np.float64).mean(axis=0)  # (N, C)
    clips = np.arange(len(said))
    if model.task == "multi-label":
        there = model.targets.astype(bool)
        against = np.where(there, 1 - said, said)
        label = against.argmax(axis=1)
        answered = ~there[clips, label]
        sureness = against[clips, label]
        # Where the probability is exactly 0.5 a class counts as said, see `heads.evaluation.predictions.THRESHOLD`.
        wrong = np.where(answered, sureness >= 0.5, sureness > 0.5)
    else:
        label = said.argmax(axis=1)
        answered, sureness, wrong = np.ones(len(said), bool), said[clips, label], label != model.targets
    surest = [clip for clip in np.argsort(-sureness.round(9), kind="stable") if wrong[clip]]
    return [Confident(int(at), int(label[at]), bool(answered[at]), float(sureness[at])) for at in surest[:most]]


def missed_by_all(models: Sequence[Outcomes]) -> list[int]:
    """The clips that no repetition of any classifier gets right, hardest first.

    In `multi-label`, those with a class (there or not) that every repetition of every model decides wrongly.
    """
    wrong = np.logical_and.reduce([model.wrong.all(axis=0) for model in models])
    missed = wrong.any(axis=1) if wrong.ndim == 2 else wrong
    return [clip for clip in hardest(models, len(missed)) if missed[clip]]
