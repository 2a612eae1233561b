"""Prediction with trained heads of linear layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from features.labels import Task

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import Block
    from heads.batched.frame_blocks import FrameBlock

State = Mapping[str, np.ndarray]
NORM_EPS = 1e-5  # epsilon of batch and layer normalisation
ROWS_AT_ONCE = 4096  # rows that are predicted at once, in float64


def head_state(layers: Sequence[tuple[np.ndarray, np.ndarray]], block: Block) -> dict[str, np.ndarray]:
    """Combine a trained head and its standardisation, to predict from raw features.

    Args:
        layers: Weights (D_in, D_out) and biases (D_out,) of each linear layer, with ReLU between layers.
        block: The block it was trained on.

    Returns:
        The arrays `mean`, `scale`, and `weight_k`, `bias_k` of layer k; `target` (mean, scale) in regression.
    """
    state = standardisation(block)
    for at, (weight, bias) in enumerate(layers):
        state[f"weight_{at}"], state[f"bias_{at}"] = weight, bias
    return state


def standardisation(block: Block | FrameBlock) -> dict[str, np.ndarray]:
    """Return the standardisation part of a head's state: `mean`, `scale`, and `target` if targets were scaled."""
    state = {"mean": block.mean, "scale": block.scale}
    if (block.target_mean, block.target_scale) != (0.0, 1.0):
        state["target"] = np.array([block.target_mean, block.target_scale])
    return state


def standardized(state: State, features: np.ndarray) -> np.ndarray:
    """Standardise raw features (n, …) as a head's training rows were; float64.

    Raises:
        ValueError: The shape of the features is not the one the head was trained on.
    """
    shape = state["mean"].shape
    if features.shape[1:] != shape or features.ndim != len(shape) + 1:
        raise ValueError(f"features have shape {features.shape}; this head needs (n, {', '.join(map(str, shape))})")
    return (features.astype(np.float64) - state["mean"]) / state["scale"]


def in_parts(predict: Callable[[np.ndarray], np.ndarray], features: np.ndarray) -> np.ndarray:
    """Predict from some rows at a time, so that their float64 copies stay small, and concatenate the outputs."""
    starts = range(0, max(1, len(features)), ROWS_AT_ONCE)
    return np.concatenate([predict(features[start : start + ROWS_AT_ONCE]) for start in starts])


def activate(scores: np.ndarray, task: Task) -> np.ndarray:
    """Convert outputs of a linear layer to probabilities; regression values are returned unchanged.

    Args:
        scores: Shape (n, C).
        task: `single-label`: softmax over C; `multi-label`: one sigmoid per class.

    Returns:
        Shape (n, C).
    """
    if task == "regression":
        return scores
    if task == "multi-label":
        return 0.5 * (1 + np.tanh(0.5 * scores))
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def outputs(state: State, scores: np.ndarray, task: Task) -> np.ndarray:
    """Convert scores (n, C) of a head to probabilities, or to values on the original scale; float32."""
    if task == "regression":
        mean, scale = state.get("target", (0.0, 1.0))
        scores = scores * scale + mean
    return activate(scores, task).astype(np.float32)


def predict_layers(state: State, features: np.ndarray, task: Task = "single-label") -> np.ndarray:
    """Predict with linear layers with ReLU between them.

    Args:
        state: From `head_state`; with `gain_k` and `shift_k` if layer normalisation follows layer k.
        features: Raw features of the head's layer and poolings, shape (n, D).
        task: The task, which determines the kind of outputs.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1); computed in float64.

    Raises:
        ValueError: The dimension of the features is not the one the head was trained on.
    """
    depth = count_layers(state)

    def predict(rows: np.ndarray) -> np.ndarray:
        x = standardized(state, rows)
        for at in range(depth):
            x = x @ state[f"weight_{at}"].astype(np.float64) + state[f"bias_{at}"]
            if f"gain_{at}" in state:
                x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + NORM_EPS)
                x = x * state[f"gain_{at}"] + state[f"shift_{at}"]
            if at < depth - 1:
                x = np.maximum(x, 0)
        return outputs(state, x, task)

    return in_parts(predict, features)


def layers_graph(arrays: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """Compute the scores of `predict_layers` on torch tensors, for ONNX export.

    Args:
        arrays: A trained state.
        features: Raw features, shape (n, D).

    Returns:
        Shape (n, C).
    """
    x = (features - arrays["mean"]) / arrays["scale"]
    depth = count_layers(arrays)
    for at in range(depth):
        x = x @ arrays[f"weight_{at}"] + arrays[f"bias_{at}"]
        if f"gain_{at}" in arrays:
            x = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + NORM_EPS).sqrt()
            x = x * arrays[f"gain_{at}"] + arrays[f"shift_{at}"]
        if at < depth - 1:
            x = x.relu()
    return x


def count_layers(state: Mapping[str, object]) -> int:
    """Return the number of linear layers of a head."""
    return sum(name.startswith("weight_") for name in state)


def count_parameters(state: State) -> int:
    """Return the number of weights and biases of a head of linear layers, without the standardisation."""
    return sum(value.size for name, value in state.items() if name.startswith(("weight_", "bias_")))
