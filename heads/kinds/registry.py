"""The table of heads. One module contains a head's options, trainer, predictor and graph.

A module is imported when its head is used. Head modules import torch and scikit-learn only inside functions, so
that configs can be checked without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from features.labels import Task
from heads.batched.job import HeadType, State
from heads.options import HeadOptions

HEADS: dict[str, str] = {
    "linear": "heads.kinds.linear",
    "mlp": "heads.kinds.mlp",
    "knn": "heads.kinds.knn",
    "prototype": "heads.kinds.prototype",
    "weighted-sum": "heads.kinds.weighted_sum",
    "sklearn": "heads.kinds.sklearn.head",
    "attention": "heads.kinds.attention",
    "layer-attention": "heads.kinds.layer_attention",
}
"""Name and module of every head. The module exports a `HeadType` as `HEAD`."""


def head_type(name: str) -> HeadType:
    """Import a head's module and return its definition.

    Raises:
        KeyError: There is no head of this name.
    """
    found = import_module(HEADS[name]).HEAD
    assert isinstance(found, HeadType)
    return found


def options_class(name: str) -> type[HeadOptions]:
    """Return the class of a head's options.

    Raises:
        KeyError: There is no head of this name.
    """
    return head_type(name).options


def predict(head: str, state: State, features: Any, task: Task = "single-label") -> np.ndarray:
    """Predict with a trained head from raw features.

    Args:
        head: Name of the head.
        state: Its trained arrays.
        features: Features of the head's layer and poolings, see `heads.batched.job.HeadType`.
        task: The task, which determines the kind of outputs.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1).

    Raises:
        KeyError: There is no head of this name.
        ValueError: The shape of the features is not the one the head was trained on.
    """
    return head_type(head).predict(state, features, task)
