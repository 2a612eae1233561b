"""Learning curves of models trained end to end: what every fit kept of its epochs, over folds and seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.report.study import Study

LOSSES = {"train/loss": "training", "valid/loss": "validation"}
SCORE = "valid/accuracy"


@dataclass(frozen=True)
class LearningCurve:
    """One number of one model over epochs.

    Attributes:
        epochs: From 1, (E,).
        mean: Over the fits that came so far, (E,).
        low: The lowest of them, (E,).
        high: The highest, (E,).
    """

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Learning:
    """How one model learnt.

    Attributes:
        title: Of the model.
        model: The network's name.
        n_fits: Folds × seeds × draws.
        best_epochs: The kept epoch of each fit, from 1.
        curves: By the name its trainer gave the number: `train/loss`, `valid/loss`, `valid/accuracy`.
    """

    title: str
    model: str
    n_fits: int
    best_epochs: list[int]
    curves: dict[str, LearningCurve]


def learning_of(study: Study) -> list[Learning]:
    """Every trained model that kept its epochs."""
    found = []
    for model in study.models:
        if "recipe" not in model.details:
            continue
        courses = read_courses(model.fit.folder)
        names = dict.fromkeys(name for course in courses for row in course["curves"] for name in row)
        curves = {name: curve_of([course["curves"] for course in courses], name) for name in names}
        kept = {name: curve for name, curve in curves.items() if curve.epochs}
        if kept:
            best = sorted(int(course["best_epoch"]) + 1 for course in courses)
            found.append(Learning(model.title, str(model.row["model"]), len(courses), best, kept))
    return found


def read_courses(folder: Path) -> list[Mapping[str, Any]]:
    """What each finished fit in a model's folder says of its course; one that cannot be read is left out."""
    found: list[Mapping[str, Any]] = []
    for path in sorted(folder.glob("fold-*-seed-*.json")):
        try:
            course = json.loads(path.read_text(encoding="utf-8"))["course"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(course, dict) and isinstance(course.get("curves"), list) and "best_epoch" in course:
            found.append(course)
    return found


def curve_of(fits: Sequence[Sequence[Mapping[str, float]]], name: str) -> LearningCurve:
    """Mean and range of a number in each epoch, over the fits that still trained then.

    Args:
        fits: Of each fit, the numbers of each epoch.
        name: Which number; epochs in which no fit has a finite one are left out.
    """
    epochs, mean, low, high = [], [], [], []
    for epoch in range(max(map(len, fits), default=0)):
        values = [fit[epoch][name] for fit in fits if epoch < len(fit) and name in fit[epoch]]
        values = [value for value in values if math.isfinite(value)]
        if values:
            epochs.append(epoch + 1)
            mean.append(sum(values) / len(values))
            low.append(min(values))
            high.append(max(values))
    return LearningCurve(epochs, mean, low, high)
