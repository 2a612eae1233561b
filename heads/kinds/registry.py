"""The heads there are: how each trains and predicts. Options with the same names stand in `heads.options`."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.labels import Task
from heads.batched.inference import predict_layers
from heads.batched.job import Kind, State
from heads.kinds.attention import fit_attention, predict_attention
from heads.kinds.knn import fit_knn, predict_knn
from heads.kinds.linear import fit_linear
from heads.kinds.mlp import fit_mlp
from heads.kinds.sklearn.head import fit_sklearn, predict_sklearn
from heads.kinds.weighted_sum import fit_weighted_sum, predict_weighted_sum

KINDS: dict[str, Kind] = {
    "linear": Kind(fit_linear, predict_layers),
    "knn": Kind(fit_knn, predict_knn),
    "mlp": Kind(fit_mlp, predict_layers),
    "weighted-sum": Kind(fit_weighted_sum, predict_weighted_sum),
    "sklearn": Kind(fit_sklearn, predict_sklearn, apart=True),
    "attention": Kind(fit_attention, predict_attention, apart=True),
}


def predict(head: str, state: State, features: Any, task: Task = "single-label") -> np.ndarray:
    """What a trained head says of raw features.

    Args:
        head: Its name.
        state: What it was saved with.
        features: Of the head's layer and poolings, see `heads.batched.job.Kind`.
        task: What the outputs are.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1).

    Raises:
        ValueError: The features have another shape than the head was trained on.
    """
    return KINDS[head].predict(state, features, task)
