"""Attention pooling over frames, followed by one linear layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
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

MAX_FRAMES = 2**15  # frames in one padded part of a batch; longer clips are processed in parts


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
    """Train every configuration on every block with every seed with AdamW; on a CPU, each fit on one thread.

    A frame h has the score w · tanh(V h + b). A clip's vector is the mean of its frames weighted by the
    softmax of their scores (Ilse et al. 2018, arXiv 1802.04712, without the gate). Padding has no weight, so
    a clip's vector does not depend on its batch. In blocks of all layers, h is the sum of the layers' frames
    weighted by the softmax of trained weights. Initial weights, order and dropout are functions of seed, epoch
    and step. Early stopping is the same as for other heads trained with AdamW.

    Args:
        places: The blocks.
        load: Returns the `FrameBlock` of a place.
        job: The grid, and the settings shared by all fits.

    Yields:
        One candidate per block and configuration.
    """
    from heads.batched.cores import on_cores
    from heads.batched.stepped.plan import memory_note

    units = [partial(_fit_seeds, place, number, load, job) for place in places for number in range(len(job.grid))]
    n_bytes = _fit_bytes(cast("FrameBlock", load(places[0])), job)
    n_workers = max(1, min(job.cores, len(units), job.memory // n_bytes)) if job.device.type == "cpu" else 1
    note = memory_note(n_workers * n_bytes, n_workers, 1, "frames in the cache")
    if job.note and note:
        job.note(note)
    yield from on_cores(units, n_workers, job.device)


def _fit_bytes(block: FrameBlock, job: Job) -> int:
    """Return an upper bound of the memory of one fit: a training step keeps activations, a validation pass does not."""
    options = cast(AttentionOptions, job.options)
    at_once = _frames_at_once(block.mean)
    trained = min(at_once, options.batch_size * int(block.frames.lengths(block.train).max()))
    scored = min(at_once, int(block.frames.lengths(block.valid).sum()))
    widest = max(point["units"] for point in job.grid)
    return 4 * (block.mean.size + job.dim + widest) * max(4 * trained, 2 * scored)


def _fit_seeds(place: Place, configuration: int, load: Loader, job: Job) -> Iterator[BlockFit]:
    """Train one configuration on one block with every seed."""
    from heads.batched.attention import AttentionFit
    from heads.batched.blocks import BlockFit

    block = cast("FrameBlock", load(place))
    point = job.grid[configuration]
    most = _frames_at_once(block.mean)
    results = [AttentionFit(block, job, point, seed, most).train() for seed in range(len(job.seeds))]
    yield BlockFit(
        place,
        configuration,
        [result.state for result in results],
        np.array([result.valid_loss for result in results]),
        np.array([result.epochs for result in results]),
        results[0].params_trained,
    )


def _frames_at_once(mean: np.ndarray) -> int:
    """Return the frames in one padded part of a batch; with all layers (L, D), a frame has L times the values."""
    return max(1, MAX_FRAMES // len(mean)) if mean.ndim == 2 else MAX_FRAMES


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
    most = _frames_at_once(mean)
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
