"""Forward and backward pass of many heads with attention pooling over frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from heads.batched.blocks import chunks
from heads.batched.rng import initial_layers
from heads.batched.stepped.adamw import Arrays, Minibatch, affine, affine_slopes, aligned
from heads.batched.stepped.frame_batches import Draw, FrameBatch, Part

CPU_BYTES = 2**22  # hidden units of the heads that are computed at once, so that they stay in the processor's caches
CUDA_BYTES = 2**28


class Attended(NamedTuple):
    """Unnormalised attention of k heads over the P pieces of a part.

    Attributes:
        frames: Frames of each head, (k, P, F, D), if it sums layers, else (1, P, F, D).
        hidden: Hidden units, (k, P·F, U).
        scores: Scores of the frames, (k, P, F); -inf for padding.
        top: Highest score of each piece, (k, P).
        total: Sum of exp(score - top), (k, P).
        weighted: Sum of frames with these weights, (k, P, D).
    """

    frames: Tensor
    hidden: Tensor
    scores: Tensor
    top: Tensor
    total: Tensor
    weighted: Tensor


class Pooled(NamedTuple):
    """Attention of k heads over n clips.

    Attributes:
        clips: Mean of each clip's frames with the weights of attention, (k, n, D).
        top: Highest score of each clip, (k, n).
        total: Sum of exp(score - top) over each clip's frames, (k, n).
    """

    clips: Tensor
    top: Tensor
    total: Tensor


def attend(arrays: Arrays, part: Part) -> Attended:
    """Compute unnormalised attention of k heads over a part; no head depends on the others."""
    n_fits, (n_layers, n_pieces, n_frames, dim) = len(arrays["attention_weight"]), part.values.shape
    frames = part.values
    if "mixture" in arrays:
        flat = frames.view(n_layers, -1)
        frames = torch.stack([share @ flat for share in _layer_shares(arrays, n_layers)])
        frames = frames.view(-1, n_pieces, n_frames, dim)
    x = frames.view(len(frames), -1, dim).expand(n_fits, -1, -1)
    hidden = torch.baddbmm(arrays["attention_bias"], x, arrays["attention_weight"]).tanh_()
    # Some products are computed one head at a time: a product with one column has other bits in a batch, and a batch
    # would copy the frames that heads share.
    scores = torch.stack([units @ score for units, score in zip(hidden, arrays["attention_score"], strict=True)])
    scores = scores.view(n_fits, n_pieces, n_frames)
    if part.padding is not None:
        scores.masked_fill_(part.padding, -torch.inf)
    top = scores.amax(-1)
    own = (scores - top[..., None]).exp_()
    each = zip(own, _of_heads(frames, n_fits), strict=True)
    weighted = torch.stack([(one[:, None] @ values)[:, 0] for one, values in each])
    return Attended(frames, hidden, scores, top, own.sum(-1), weighted)


def attention_slopes(
    arrays: Arrays, part: Part, found: Attended, weights: Tensor, along: Tensor, level: Tensor
) -> dict[str, Tensor]:
    """Return the gradients of the arrays of attention, given those of the pooled clips.

    Args:
        arrays: As for `attend`.
        part: The part.
        found: What `attend` returned.
        weights: Weights of the frames in their clip's mean, (k, P, F).
        along: Gradient of the vector of each piece's clip, (k, P, D).
        level: Dot product of this vector and its gradient, (k, P).
    """
    n_fits, dim = len(along), along.shape[-1]
    each = zip(_of_heads(found.frames, n_fits), along, strict=True)
    changes = torch.stack([(slope[:, None] @ frames.transpose(1, 2))[:, 0] for frames, slope in each])
    of_scores = (weights * (changes - level[..., None])).view(n_fits, -1, 1)
    score = arrays["attention_score"].transpose(1, 2)  # (k, 1, U)
    # The derivative of tanh, without the factor `score`, which does not depend on the frame.
    of_hidden = torch.addcmul(of_scores, found.hidden * of_scores, found.hidden, value=-1)
    x = found.frames.view(len(found.frames), -1, dim).expand(n_fits, -1, -1)
    slopes = {
        "attention_weight": torch.bmm(x.transpose(1, 2), of_hidden).mul_(score),
        "attention_bias": of_hidden.sum(1, keepdim=True).mul_(score),
        "attention_score": torch.bmm(found.hidden.transpose(1, 2), of_scores),
    }
    if "mixture" in arrays:
        n_layers = len(part.values)
        of_frames = (weights[..., None] * along[:, :, None]).view(n_fits, -1, dim)
        of_frames.baddbmm_(of_hidden, (arrays["attention_weight"] * score).transpose(1, 2))
        flat = part.values.view(n_layers, -1)
        of_shares = torch.stack([flat @ one.flatten() for one in of_frames])
        shares = _layer_shares(arrays, n_layers)
        slope = shares * (of_shares - (shares * of_shares).sum(-1, keepdim=True))
        slopes["mixture"] = pad(slope, (0, arrays["mixture"].shape[-1] - n_layers))
    return slopes


def _layer_shares(arrays: Arrays, n_layers: int) -> Tensor:
    """Return the weights of the layers, (k, L)."""
    return arrays["mixture"][:, :n_layers].softmax(-1)


def _of_heads(frames: Tensor, n_fits: int) -> Tensor:
    """Return the frames of each head, (k, P, F, D)."""
    return frames.expand(n_fits, -1, -1, -1)


class AttentionPooling:
    """Heads with the same number of units, see `heads.batched.stepped.adamw.HeadNetwork`.

    The hidden units of long batches are computed again in the backward pass, part by part, to save memory.
    """

    def __init__(self, dim: int, units: int, n_outputs: int, n_layers: int | None) -> None:
        """Define the shapes of the arrays.

        Args:
            dim: D.
            units: U, hidden units of the attention.
            n_outputs: C.
            n_layers: L, the layers that are summed; None: a block has one layer.
        """
        self.sizes, self.n_layers = (dim, units, n_outputs), n_layers
        self.units = dim
        self.n_trained = (dim + 2) * units + (dim + 1) * n_outputs + (n_layers or 0)
        self.trained: dict[str, tuple[int, ...]] = {
            "attention_weight": (dim, aligned(units)),
            "attention_bias": (1, aligned(units)),
            "attention_score": (aligned(units), 1),
            "weight_0": (dim, aligned(n_outputs)),
            "bias_0": (1, aligned(n_outputs)),
        }
        if n_layers is not None:
            self.trained["mixture"] = (aligned(n_layers),)
        self.tracked: dict[str, tuple[int, ...]] = {}

    def start(self, seed: int) -> dict[str, Tensor]:
        """Return the initial values: attention as in `torch.nn.Linear`, the rest zero, as in logistic regression."""
        dim, units, _ = self.sizes
        (first, first_bias), (second, _) = initial_layers(seed, (dim, units, 1))
        extra = aligned(units) - units
        arrays = {name: torch.zeros(shape) for name, shape in self.trained.items()}
        return arrays | {
            "attention_weight": pad(first, (0, extra)),
            "attention_bias": pad(first_bias[None], (0, extra)),
            "attention_score": pad(second, (0, 0, 0, extra)),
        }

    def forward(self, arrays: Arrays, rows: FrameBatch, batch: Minibatch | None) -> tuple[Tensor, list[Any]]:
        """Return the outputs (M, B, C padded)."""
        n_fits = len(arrays["bias_0"])
        clips = arrays["bias_0"].new_zeros(n_fits, len(rows), self.sizes[0])
        tape: list[Any] = []
        for draw in rows.draws(None if batch is None else batch.share):
            kept: list[Any] | None = [] if batch is not None and len(draw) == 1 else None
            pooled = self._pool(_rows_of(arrays, draw), draw, kept)
            clips[draw.fits, : len(draw.rows)] = pooled.clips
            tape.append((draw, pooled, kept))
        if batch is not None and batch.keep is not None:
            clips.mul_(batch.keep)
        return affine(clips, arrays, 0), [clips, *tape]

    def backward(self, arrays: Arrays, tape: list[Any], gradient: Tensor, batch: Minibatch, slopes: Arrays) -> None:
        """Compute the gradients of the linear layer and, through the clips' vectors, of the attention."""
        affine_slopes(tape[0], gradient, 0, slopes)
        of_clips = torch.bmm(gradient, arrays["weight_0"].transpose(1, 2))
        if batch.keep is not None:
            of_clips.mul_(batch.keep)
        for draw, pooled, kept in tape[1:]:
            along = of_clips[draw.fits, : len(draw.rows)]
            level = (along * pooled.clips).sum(-1)
            own = _rows_of(arrays, draw)
            sums = {name: torch.zeros_like(own[name]) for name in self.trained if not name.endswith("_0")}
            for part, heads, found in kept or self._attended(own, draw):
                top, total = (values[heads][:, part.clip, None] for values in (pooled.top, pooled.total))
                weights = (found.scores - top).exp_().div_(total)
                few = {name: values[heads] for name, values in own.items()}
                now = along[heads][:, part.clip], level[heads][:, part.clip]
                for name, slope in attention_slopes(few, part, found, weights, *now).items():
                    sums[name][heads] += slope
            for name, values in sums.items():
                slopes[name][draw.fits] = values

    def _pool(self, arrays: Arrays, draw: Draw, kept: list[Any] | None) -> Pooled:
        """Pool the clips of a draw; what was computed for each part and its heads is appended to `kept`."""
        shape = len(arrays["bias_0"]), len(draw.rows)
        total = arrays["bias_0"].new_zeros(shape)
        top, clips = torch.full_like(total, -torch.inf), total.new_zeros(*shape, self.sizes[0])
        for part, heads, found in self._attended(arrays, draw):
            if kept is not None:
                kept.append((part, heads, found))
            before = top[heads][:, part.clip]
            highest = torch.maximum(before, found.top)
            shrink, grow = (before - highest).exp(), (found.top - highest).exp()
            top[heads][:, part.clip] = highest
            total[heads][:, part.clip] = total[heads][:, part.clip] * shrink + found.total * grow
            so_far = clips[heads][:, part.clip] * shrink[..., None]
            clips[heads][:, part.clip] = so_far + found.weighted * grow[..., None]
        return Pooled(clips.div_(total[..., None]), top, total)

    def _attended(self, arrays: Arrays, draw: Draw) -> Iterator[tuple[Part, slice, Attended]]:
        """Compute attention over the parts of a draw, for a few heads at a time."""
        for part in draw:
            n_bytes = 4 * part.values[0, ..., 0].numel() * aligned(self.sizes[1])
            budget = CPU_BYTES if part.values.device.type == "cpu" else CUDA_BYTES
            for few in chunks(range(len(arrays["bias_0"])), n_bytes, budget):
                heads = slice(few[0], few[-1] + 1)
                yield part, heads, attend({name: values[heads] for name, values in arrays.items()}, part)

    def state(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays for `heads.kinds.attention.predict_attention`."""
        _, units, n_outputs = self.sizes
        state = {
            "attention_weight": arrays["attention_weight"][:, :units].copy(),
            "attention_bias": arrays["attention_bias"][0, :units].copy(),
            "attention_score": arrays["attention_score"][:units, 0].copy(),
            "weight_0": arrays["weight_0"][:, :n_outputs].copy(),
            "bias_0": arrays["bias_0"][0, :n_outputs].copy(),
        }
        if self.n_layers is not None:
            state["layer_weights"] = torch.from_numpy(arrays["mixture"][: self.n_layers]).softmax(0).numpy()
        return state


def _rows_of(arrays: Arrays, draw: Draw) -> Arrays:
    """Return the arrays of the networks of a draw."""
    return {name: values[draw.fits] for name, values in arrays.items()}
