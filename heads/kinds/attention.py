"""Attention pooling over frames, then one linear layer: fit by fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

import numpy as np
from pydantic import Field

from features.labels import Task
from heads.batched.inference import outputs
from heads.batched.job import HeadType, Job, State
from heads.options import Count, Grid, Share, SteppedOptions

if TYPE_CHECKING:
    from torch import Tensor

    from heads.batched.blocks import BlockFit, Loader, Place
    from heads.batched.frame_blocks import FrameBlock

MAX_FRAMES = 2**15  # of one padded part of a batch; a longer clip is cut and joined again


class AttentionOptions(SteppedOptions):
    """Attention pooling over a layer's cached frames, then one linear layer, fit by fit.

    Attributes:
        units: Of the attention's hidden layer.
        dropout: Share of the pooled vector switched off in training.
    """

    grid: ClassVar[tuple[str, ...]] = ("units", "dropout", "learning_rate", "weight_decay")
    reads = "frames"

    name: Literal["attention"] = "attention"
    layers: Literal["all", "last"] | Annotated[list[int], Field(min_length=1)] = "last"
    units: Grid[Count] = Field([128])
    dropout: Grid[Share] = Field([0.3])


def fit_attention(places: Sequence[Place], load: Loader, job: Job) -> Iterator[BlockFit]:
    """Train every configuration on every block with every seed, one after the other, with AdamW.

    A frame h scores w · tanh(V h + b); the clip is the mean of its frames weighted by the softmax of
    their scores (Ilse et al. 2018, arXiv 1802.04712, without the gate). Padding has no weight, so a
    clip's vector does not depend on its batch. First weights, order and dropout are functions of seed,
    epoch and step. Early stopping and what is kept are as for the other heads that AdamW trains.

    Args:
        places: The blocks.
        load: Gives the `FrameBlock` of a place.
        job: The grid and what all fits share.

    Yields:
        One candidate per block and configuration.
    """
    from heads.batched.attention import TRAINED, AttentionFit
    from heads.batched.blocks import BlockFit

    for place in places:
        block = cast("FrameBlock", load(place))
        for number, point in enumerate(job.grid):
            fits = [AttentionFit(block, job, point, seed, MAX_FRAMES) for seed in range(len(job.seeds))]
            courses = [fit.train() for fit in fits]
            yield BlockFit(
                place,
                number,
                [course.state for course in courses],
                np.array([course.valid_loss for course in courses]),
                np.array([course.epochs for course in courses]),
                sum(courses[0].state[name].size for name in TRAINED),
            )


def predict_attention(state: State, features: Sequence[np.ndarray], task: Task = "single-label") -> np.ndarray:
    """What a trained head says, clip by clip.

    Args:
        state: Of `fit_attention`.
        features: Raw frames of the head's layer, (F, D) of each clip.
        task: What the outputs are.

    Returns:
        Probabilities, shape (n, C) float32, or values (n, 1).

    Raises:
        ValueError: Frames have another dimension than the head was trained on, or a clip has none.
    """
    mean, scale = (state[name].astype(np.float32) for name in ("mean", "scale"))
    pooled = np.zeros((len(features), len(mean)))
    for at in range(len(features)):
        frames = features[at]
        if frames.ndim != 2 or frames.shape[1:] != mean.shape or not len(frames):
            raise ValueError(f"frames have shape {frames.shape}; this head needs (F, {len(mean)}) of each clip")
        top, total = -np.inf, 0.0
        for start in range(0, len(frames), MAX_FRAMES):
            part = (frames[start : start + MAX_FRAMES].astype(np.float32) - mean) / scale
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
    """The scores of `predict_attention` on torch tensors, for ONNX.

    Args:
        arrays: A trained state.
        frames: Raw frames of the head's layer of one clip, shape (1, F, D).

    Returns:
        Shape (1, C).
    """
    x = (frames - arrays["mean"]) / arrays["scale"]
    scores = (x @ arrays["attention_weight"] + arrays["attention_bias"]).tanh() @ arrays["attention_score"]
    return (scores.softmax(1)[:, :, None] * x).sum(1) @ arrays["weight_0"] + arrays["bias_0"]


HEAD = HeadType(AttentionOptions, fit_attention, predict_attention, apart=True, graph=attention_graph)
