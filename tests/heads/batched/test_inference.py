"""Predictions in parts are those of all rows at once."""

from itertools import pairwise

import numpy as np
import pytest

from heads.batched import inference
from heads.kinds.registry import predict

N, N_LAYERS, DIM, HIDDEN, N_CLASSES = 11, 3, 6, 7, 4


def trained(name):
    """A state as a head of this name stores it, and raw features."""
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.normal(size=shape).astype(np.float32)

    shape = (N_LAYERS, DIM) if name == "weighted-sum" else (DIM,)
    state = {"mean": rng.normal(size=shape), "scale": 1 + rng.random(shape)}
    if name == "knn":
        numbers = {"k": np.array([3]), "metric": np.array([1]), "n_outputs": np.array([N_CLASSES])}
        state |= numbers | {"rows": random(20, DIM), "answers": np.arange(20, dtype=np.int32) % N_CLASSES}
    else:
        sizes = [DIM, HIDDEN, N_CLASSES] if name == "mlp" else [DIM, N_CLASSES]
        for at, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            state |= {f"weight_{at}": random(fan_in, fan_out), f"bias_{at}": random(fan_out)}
        if name == "weighted-sum":
            state["layer_weights"] = np.array([0.5, 0.3, 0.2], dtype=np.float32)
    return state, random(N, *shape)


@pytest.mark.parametrize("name", ["linear", "mlp", "knn", "weighted-sum"])
def test_rows_in_parts_are_predicted_as_all_rows_at_once(name, monkeypatch):
    state, features = trained(name)
    whole = predict(name, state, features)
    assert np.allclose(whole.sum(1), 1, atol=1e-6) and len(np.unique(whole, axis=0)) > 2
    monkeypatch.setattr(inference, "PART_BYTES", 1)
    monkeypatch.setattr(inference, "FEWEST_ROWS", 3)
    assert np.allclose(predict(name, state, features), whole, atol=1e-6)
    assert predict(name, state, features[:0]).shape == (0, N_CLASSES)
