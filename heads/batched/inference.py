"""Prediction with trained heads of linear layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from features.labels import Task
from heads.batched.row_slices import row_slices

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import Block
    from heads.batched.vector_blocks import RowBlock

State = Mapping[str, np.ndarray]
NORM_EPS = 1e-5  # epsilon of batch and layer normalisation
PART_BYTES = 2**24  # one float64 array of the rows that are predicted at once
FEWEST_ROWS = 256  # rows that are predicted at once at least


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


def standardisation(block: Block | RowBlock) -> dict[str, np.ndarray]:
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
    check_shape(state, features.shape)
    return (features.astype(np.float64) - state["mean"]) / state["scale"]


def check_shape(state: State, shape: tuple[int, ...]) -> None:
    """Check the shape of raw features (n, …).

    Raises:
        ValueError: It is not the one the head was trained on.
    """
    wanted = state["mean"].shape
    if shape[1:] != wanted:
        raise ValueError(f"features have shape {shape}; this head needs (n, {', '.join(map(str, wanted))})")


def parts(n_rows: int, width: int) -> Iterator[slice]:
    """Yield the rows to predict at once.

    Args:
        n_rows: Number of rows.
        width: Largest number of values of a row, in any layer of the head.
    """
    return row_slices(n_rows, max(FEWEST_ROWS, PART_BYTES // (8 * width)))


def in_parts(predict: Callable[[slice], np.ndarray], n_rows: int, n_outputs: int, width: int) -> np.ndarray:
    """Return the predictions of all rows, shape (n, C) float32, which are computed in parts.

    Args:
        predict: Function of some rows that returns their predictions.
        n_rows: Number of rows.
        n_outputs: C.
        width: See `parts`.
    """
    found = np.empty((n_rows, n_outputs), dtype=np.float32)
    for part in parts(n_rows, width):
        found[part] = predict(part)
    return found


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
    check_shape(state, features.shape)
    sizes = [len(state[f"bias_{at}"]) for at in range(count_layers(state))]

    def predict(part: slice) -> np.ndarray:
        return outputs(state, _layer_scores(state, standardized(state, features[part])), task)

    return in_parts(predict, len(features), sizes[-1], max(features.shape[1], *sizes))


def _layer_scores(state: State, x: np.ndarray) -> np.ndarray:
    """Return the scores (n, C) of standardised rows (n, D) float64."""
    depth = count_layers(state)
    for at in range(depth):
        x = x @ state[f"weight_{at}"].astype(np.float64) + state[f"bias_{at}"]
        if f"gain_{at}" in state:
            x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + NORM_EPS)
            x = x * state[f"gain_{at}"] + state[f"shift_{at}"]
        if at < depth - 1:
            x = np.maximum(x, 0)
    return x


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
