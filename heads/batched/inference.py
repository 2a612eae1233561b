"""What a trained head of linear layers says about features it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from features.labels import Task

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import Block
    from heads.batched.frame_blocks import FrameBlock

State = Mapping[str, np.ndarray]
NORM_EPS = 1e-5  # of batch and layer normalisation


def head_state(layers: Sequence[tuple[np.ndarray, np.ndarray]], block: Block) -> dict[str, np.ndarray]:
    """Put a trained head together so that it predicts from raw features on its own.

    Args:
        layers: Weights (D_in, D_out) and biases (D_out,) of each linear layer, with ReLU between layers.
        block: What it was trained on.

    Returns:
        `mean`, `scale`, and `weight_k`, `bias_k` of layer k; `target` (mean, scale) in regression.
    """
    state = standardisation(block)
    for at, (weight, bias) in enumerate(layers):
        state[f"weight_{at}"], state[f"bias_{at}"] = weight, bias
    return state


def standardisation(block: Block | FrameBlock) -> dict[str, np.ndarray]:
    """The part of a head's state that says how a block was standardised: `mean`, `scale`, and `target` if need be."""
    state = {"mean": block.mean, "scale": block.scale}
    if (block.target_mean, block.target_scale) != (0.0, 1.0):
        state["target"] = np.array([block.target_mean, block.target_scale])
    return state


def standardized(state: State, features: np.ndarray) -> np.ndarray:
    """Raw features (n, …) on the scale of a head's training rows, float64.

    Raises:
        ValueError: The features have another shape than the head was trained on.
    """
    shape = state["mean"].shape
    if features.shape[1:] != shape or features.ndim != len(shape) + 1:
        raise ValueError(f"features have shape {features.shape}; this head needs (n, {', '.join(map(str, shape))})")
    return (features.astype(np.float64) - state["mean"]) / state["scale"]


def activate(scores: np.ndarray, task: Task) -> np.ndarray:
    """Outputs of a linear layer as probabilities; regression stays as it is.

    Args:
        scores: Shape (n, C).
        task: `single-label`: softmax over C; `multi-label`: a sigmoid each.
    """
    if task == "regression":
        return scores
    if task == "multi-label":
        return 0.5 * (1 + np.tanh(0.5 * scores))
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def outputs(state: State, scores: np.ndarray, task: Task) -> np.ndarray:
    """Scores (n, C) of a head as probabilities, or as values on the targets' own scale; float32."""
    if task == "regression":
        mean, scale = state.get("target", (0.0, 1.0))
        scores = scores * scale + mean
    return activate(scores, task).astype(np.float32)


def predict_layers(state: State, features: np.ndarray, task: Task = "single-label") -> np.ndarray:
    """What linear layers with ReLU between them say.

    Args:
        state: Of `head_state`; with `gain_k` and `shift_k` where a layer normalisation follows layer k.
        features: Raw features of the head's layer and poolings, shape (n, D).
        task: What the outputs are.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1); the arithmetic is float64.

    Raises:
        ValueError: The features have another dimension than the head was trained on.
    """
    x = standardized(state, features)
    depth = count_layers(state)
    for at in range(depth):
        x = x @ state[f"weight_{at}"].astype(np.float64) + state[f"bias_{at}"]
        if f"gain_{at}" in state:
            x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + NORM_EPS)
            x = x * state[f"gain_{at}"] + state[f"shift_{at}"]
        if at < depth - 1:
            x = np.maximum(x, 0)
    return outputs(state, x, task)


def layers_graph(arrays: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """The scores of `predict_layers` on torch tensors, for ONNX.

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
    """Linear layers of a head."""
    return sum(name.startswith("weight_") for name in state)


def count_parameters(state: State) -> int:
    """Trained numbers of a head of linear layers: weights and biases, not the standardisation."""
    return sum(value.size for name, value in state.items() if name.startswith(("weight_", "bias_")))
