"""Learning curves of models trained end to end: values per epoch, averaged over folds and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.report.study import Study
from pipeline.results.run_folder import read_json

LOSSES = {"train/loss": "training", "valid/loss": "validation"}
SCORE = "valid/accuracy"


class _Course(BaseModel):
    curves: list[dict[str, Any]]
    best_epoch: int


class _Fit(BaseModel):
    course: _Course


@dataclass(frozen=True)
class LearningCurve:
    """One quantity of one model over E epochs.

    Attributes:
        epochs: Epoch numbers from 1, shape (E,).
        mean: Mean over the fits that reached the epoch, shape (E,).
        low: Minimum over these fits, shape (E,).
        high: Maximum over these fits, shape (E,).
    """

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Learning:
    """Learning curves of one model.

    Attributes:
        title: Display name of the model.
        model: Name of the network.
        n_fits: Folds × seeds × draws.
        best_epochs: The best epoch of each fit, whose weights were kept, from 1, ascending.
        curves: Curves by name: `train/loss`, `valid/loss`, `valid/accuracy`.
    """

    title: str
    model: str
    n_fits: int
    best_epochs: list[int]
    curves: dict[str, LearningCurve]


def learning_of(study: Study) -> list[Learning]:
    """Return the learning curves of all models trained end to end that stored them."""
    found = []
    for model in study.learned:
        if "recipe" not in model.details:
            continue
        fits = read_training_progress(model.fit.folder)
        names = dict.fromkeys(name for fit in fits for row in fit["curves"] for name in row)
        curves = {name: curve_of([fit["curves"] for fit in fits], name) for name in names}
        kept = {name: curve for name, curve in curves.items() if curve.epochs}
        if kept:
            best = sorted(int(fit["best_epoch"]) + 1 for fit in fits)
            found.append(Learning(model.title, str(model.row["model"]), len(fits), best, kept))
    return found


def read_training_progress(folder: Path) -> list[Mapping[str, Any]]:
    """Read the training progress of each finished fit in a model's folder; unreadable files are skipped."""
    found: list[Mapping[str, Any]] = []
    for path in sorted(folder.glob("fold-*-seed-*.json")):
        fit = read_json(path, _Fit)
        if fit is not None:
            found.append(fit["course"])
    return found


def curve_of(fits: Sequence[Sequence[Mapping[str, float]]], name: str) -> LearningCurve:
    """Return mean and range of a quantity in each epoch, over the fits that reached the epoch.

    Args:
        fits: For each fit, the values of each epoch by name.
        name: Name of the quantity. Epochs without a finite value are left out.
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
