"""The heads there are. One module holds all of a head: its options, trainer, predictor and graph.

A module is imported when its head is used. Such an import is light: what needs torch or scikit-learn imports it
in functions, so that configs are checked without them.
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
    "weighted-sum": "heads.kinds.weighted_sum",
    "sklearn": "heads.kinds.sklearn.head",
    "attention": "heads.kinds.attention",
}
"""Name and module of every head. The module has a `HeadType` under the name `HEAD`."""


def head_type(name: str) -> HeadType:
    """All about one head.

    Raises:
        KeyError: There is no head of this name.
    """
    found = import_module(HEADS[name]).HEAD
    assert isinstance(found, HeadType)
    return found


def options_class(name: str) -> type[HeadOptions]:
    """What a user can set of one head.

    Raises:
        KeyError: There is no head of this name.
    """
    return head_type(name).options


def predict(head: str, state: State, features: Any, task: Task = "single-label") -> np.ndarray:
    """What a trained head says of raw features.

    Args:
        head: Its name.
        state: What it was saved with.
        features: Of the head's layer and poolings, see `heads.batched.job.HeadType`.
        task: What the outputs are.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1).

    Raises:
        ValueError: The features have another shape than the head was trained on.
    """
    return head_type(head).predict(state, features, task)
