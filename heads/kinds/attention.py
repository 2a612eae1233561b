"""Attention pooling over frames, followed by one linear layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from features.labels import Task
from heads.batched.inference import outputs
from heads.batched.job import HeadType, Job, State
from heads.options import Count, Grid, Share, SteppedOptions

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import BlockFit, Loader, Place

MAX_FRAMES = 2**15  # frames that are predicted at once; with all layers, a frame has as many numbers as L frames


class AttentionOptions(SteppedOptions):
    """Attention pooling over a layer's cached frames, followed by one linear layer.

    Attributes:
        units: Units of the attention's hidden layer.
        dropout: Dropout probability of the pooled vector in training.
    """

    grid: ClassVar[tuple[str, ...]] = ("units", "dropout", "learning_rate", "weight_decay")
    reads: ClassVar[Literal["frames", "layer-frames"]] = "frames"

    name: Literal["attention"] = "attention"
    layers: Literal["all", "last"] | Annotated[list[int], Field(min_length=1)] = "last"
    units: Grid[Count] = Field([128])
    dropout: Grid[Share] = Field([0.3])


def fit_attention(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Train every configuration on every block with every seed, see `heads.batched.stepped.early_stopping`.

    A frame h has the score w · tanh(V h + b). A clip's vector is the mean of its frames weighted by the
    softmax of their scores (Ilse et al. 2018, arXiv 1802.04712, without the gate). Padding has no weight, so
    a clip's vector does not depend on its batch. In blocks of all layers, h is the sum of the layers' frames
    weighted by the softmax of trained weights.

    Args:
        places: The blocks.
        load: Returns the `FrameBlock` of a place.
        job: The grid, and the settings shared by all fits.

    Yields:
        One candidate per block and configuration.
    """
    from heads.batched.stepped.attention import AttentionPooling
    from heads.batched.stepped.frame_rows import train_on_frames

    grid = job.grid
    n_layers = job.n_layers if job.options.reads == "layer-frames" else None
    for units in sorted({point["units"] for point in grid}):
        configurations = [at for at, point in enumerate(grid) if point["units"] == units]
        network = AttentionPooling(job.dim, units, job.n_outputs, n_layers)
        yield from train_on_frames(places, load, job, configurations, network)


def predict_attention(state: State, features: Sequence[np.ndarray], task: Task = "single-label") -> np.ndarray:
    """Predict with a trained head, one clip at a time.

    Args:
        state: From `fit_attention`.
        features: Raw frames of the head's layer, one array (F, D) per clip; (F, L, D) for a head of all layers.
        task: The task, which determines the kind of outputs.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1).

    Raises:
        ValueError: The dimension of the frames is not the one the head was trained on, or a clip has no frames.
    """
    mean, scale = (state[name].astype(np.float32) for name in ("mean", "scale"))
    shares = state.get("layer_weights")
    pooled = np.zeros((len(features), mean.shape[-1]))
    most = max(1, MAX_FRAMES // len(mean)) if mean.ndim == 2 else MAX_FRAMES
    for at in range(len(features)):
        frames = features[at]
        if frames.shape[1:] != mean.shape or not len(frames):
            wanted = ", ".join(map(str, mean.shape))
            raise ValueError(f"frames have shape {frames.shape}; this head needs (F, {wanted}) of each clip")
        top, total = -np.inf, 0.0
        for start in range(0, len(frames), most):
            part = (frames[start : start + most].astype(np.float32) - mean) / scale
            if shares is not None:
                part = shares @ part  # [F, L, D] to [F, D]
            scores = np.tanh(part @ state["attention_weight"] + state["attention_bias"]) @ state["attention_score"]
            new = max(top, float(scores.max()))
            weights = np.exp(scores - np.float32(new))
            keep = np.exp(top - new)
            pooled[at] = pooled[at] * keep + weights @ part
            total = total * keep + float(weights.sum())
            top = new
        pooled[at] /= total
    return outputs(state, pooled @ state["weight_0"].astype(np.float64) + state["bias_0"], task)


def attention_graph(arrays: Mapping[str, Tensor], frames: Tensor) -> Tensor:
    """Compute the scores of `predict_attention` on torch tensors, for ONNX export.

    Args:
        arrays: A trained state.
        frames: Raw frames of the head's layer of one clip, shape (1, F, D), or of all its layers, (1, F, L, D).

    Returns:
        Shape (1, C).
    """
    x = (frames - arrays["mean"]) / arrays["scale"]
    if "layer_weights" in arrays:
        x = arrays["layer_weights"] @ x
    scores = (x @ arrays["attention_weight"] + arrays["attention_bias"]).tanh() @ arrays["attention_score"]
    return (scores.softmax(1)[:, :, None] * x).sum(1) @ arrays["weight_0"] + arrays["bias_0"]


HEAD = HeadType(AttentionOptions, fit_attention, predict_attention, apart=True, graph=attention_graph)
