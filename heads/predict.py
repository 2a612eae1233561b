"""What a trained head says about features it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

State = Mapping[str, np.ndarray]


def head_state(
    layers: Sequence[tuple[np.ndarray, np.ndarray]], mean: np.ndarray, scale: np.ndarray
) -> dict[str, np.ndarray]:
    """Put a trained head together so that it predicts from raw features on its own.

    Args:
        layers: Weights (D_in, D_out) and biases (D_out,) of each linear layer, with ReLU between layers.
        mean: Of the training rows, shape (D,).
        scale: Their standard deviation, shape (D,).

    Returns:
        `mean`, `scale`, and `weight_k`, `bias_k` of layer k.
    """
    state = {"mean": mean, "scale": scale}
    for at, (weight, bias) in enumerate(layers):
        state[f"weight_{at}"], state[f"bias_{at}"] = weight, bias
    return state


def predict(state: State, features: np.ndarray) -> np.ndarray:
    """Class probabilities.

    Args:
        state: Of `head_state`.
        features: Raw features of the head's layer and poolings, shape (n, D).

    Returns:
        Probabilities, shape (n, C) float32; the arithmetic is float64.

    Raises:
        ValueError: The features have another dimension than the head was trained on.
    """
    dim = len(state["mean"])
    if features.ndim != 2 or features.shape[1] != dim:
        raise ValueError(f"features have shape {features.shape}; this head needs (n, {dim})")
    x = (features.astype(np.float64) - state["mean"]) / state["scale"]
    depth = count_layers(state)
    for at in range(depth):
        x = x @ state[f"weight_{at}"].astype(np.float64) + state[f"bias_{at}"]
        if at < depth - 1:
            x = np.maximum(x, 0)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return (x / x.sum(axis=1, keepdims=True)).astype(np.float32)


def count_layers(state: State) -> int:
    """Linear layers of a head."""
    return sum(name.startswith("weight_") for name in state)


def count_parameters(state: State) -> int:
    """Trained numbers of a head: weights and biases, not the standardisation."""
    return sum(value.size for name, value in state.items() if name.startswith(("weight_", "bias_")))
