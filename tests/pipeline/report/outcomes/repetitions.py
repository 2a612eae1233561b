"""Outcomes of given probabilities."""

import numpy as np

from heads.evaluation.metrics import pool
from heads.evaluation.predictions import Predictions
from pipeline.report.outcomes.outcomes import Outcomes, outcomes


def pooled(probabilities: np.ndarray, targets: np.ndarray) -> list[Predictions]:
    """Predictions of each repetition from probabilities (R, N, C) and targets; the task follows from the shapes."""
    values = np.asarray(probabilities, dtype=np.float32)
    task = "multi-label" if targets.ndim == 2 else "regression" if values.shape[2] == 1 else "single-label"
    ids = np.array([f"clip{at:04d}" for at in range(len(targets))], dtype=object)
    parts = [Predictions(own, targets, ids, 1, seed, "m", task=task) for seed, own in enumerate(values)]
    return list(pool(parts).values())


def outcomes_of(probabilities: np.ndarray, targets: np.ndarray) -> Outcomes:
    """Outcomes of clips in the order of the page."""
    return outcomes(pooled(probabilities, targets), np.arange(len(targets)))
