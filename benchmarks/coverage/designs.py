"""Simulated predictions of a model with a known true score, for groups of clips that resemble each other.

The true score is that of an infinitely large test set with the same distribution. It follows from the normal
distributions of the scores; the separation (or error) that gives it is found by root finding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from heads.evaluation.predictions import Predictions

POINTS = (np.arange(100_000) + 0.5) / 100_000


@dataclass(frozen=True)
class Design:
    """How test sets are drawn.

    Attributes:
        name: Its name in tables.
        clips: Clips per group.
        classes: Number of labels (mAP and macro F1).
        positive: Probability of each label.
        group_share: Fraction of the variance of the model's errors that all clips of a group have in common.
        label_share: The same for the labels, or for the true values (CCC).
    """

    name: str
    clips: int = 50
    classes: int = 5
    positive: float = 0.3
    group_share: float = 0.0
    label_share: float = 0.0


DESIGNS = (
    Design("correlated", group_share=0.3),
    Design("independent"),
    Design("correlated, few clips", clips=5, group_share=0.3),
    Design("correlated, rare labels", classes=10, positive=0.05, group_share=0.2, label_share=0.2),
)
Make = Callable[[np.random.Generator, Design, int], Predictions]


def noise(rng: np.random.Generator, design: Design, n_groups: int, share: float, columns: int) -> np.ndarray:
    """Draw standard normal values of which `share` of the variance is common to a group, (clips, columns)."""
    common = np.repeat(rng.normal(size=(n_groups, columns)), design.clips, axis=0)
    return np.sqrt(share) * common + np.sqrt(1 - share) * rng.normal(size=common.shape)


def ids(n: int) -> np.ndarray:
    """Return sorted ids of n clips, so that groups are in the order of clips."""
    return np.array([f"{number:08d}" for number in range(n)], dtype=object)


def separated(rng: np.random.Generator, design: Design, n_groups: int, apart: float, threshold: float) -> Predictions:
    """Simulate several-label predictions: positives lie `apart` standard deviations above negatives."""
    truth = noise(rng, design, n_groups, design.label_share, design.classes) < stats.norm.ppf(design.positive)
    scores = apart * truth + noise(rng, design, n_groups, design.group_share, design.classes)
    probabilities = 1 / (1 + np.exp(-2 * (scores - threshold)))
    return Predictions(probabilities, truth.astype(int), ids(len(truth)), 1, 0, "m", task="multi-label")


def average_precision(apart: float, positive: float) -> float:
    """Return the average precision of infinitely many clips: the mean precision at the scores of positives."""
    found = 1 - POINTS
    wrong = stats.norm.sf(apart + stats.norm.ppf(POINTS))
    return float(np.mean(positive * found / (positive * found + (1 - positive) * wrong)))


def f1(apart: float, positive: float, threshold: float) -> float:
    """Return F1 of infinitely many clips."""
    hits, wrong = positive * stats.norm.sf(threshold - apart), (1 - positive) * stats.norm.sf(threshold)
    return float(2 * hits / (hits + wrong + positive))


def for_precision(design: Design, true: float) -> Make:
    """Return the simulation of a true mAP."""
    apart = optimize.brentq(lambda apart: average_precision(apart, design.positive) - true, -2, 12)
    return lambda rng, design, n_groups: separated(rng, design, n_groups, apart, apart / 2)


def for_f1(design: Design, true: float) -> Make:
    """Return the simulation of a true macro F1, with as many clips predicted for each label as have it."""

    def threshold(apart: float) -> float:
        def surplus(at: float) -> float:
            chosen = design.positive * stats.norm.sf(at - apart) + (1 - design.positive) * stats.norm.sf(at)
            return float(chosen - design.positive)

        return optimize.brentq(surplus, -3, 12)

    apart = optimize.brentq(lambda apart: f1(apart, design.positive, threshold(apart)) - true, -2, 12)
    return lambda rng, design, n_groups: separated(rng, design, n_groups, apart, threshold(apart))


def for_concordance(design: Design, true: float) -> Make:
    """Return the simulation of a true CCC: normal values, and predictions with a normal error."""
    error = np.sqrt(2 / true - 2)

    def make(rng: np.random.Generator, design: Design, n_groups: int) -> Predictions:
        values = noise(rng, design, n_groups, design.label_share, 1)
        predicted = values + error * noise(rng, design, n_groups, design.group_share, 1)
        return Predictions(predicted, values[:, 0], ids(len(values)), 1, 0, "m", task="regression")

    return make
