"""Frames to clip vectors: masked, weighted, and joined exactly across the windows of a long clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# In the order in which a head sees them concatenated.
POOLINGS = ("mean", "std", "max")


@dataclass(frozen=True)
class Frames:
    """Frame embeddings of a batch.

    Attributes:
        values: (B, L, F, D); what lies beyond a clip's length is padding and holds anything finite.
        lengths: (B,) valid frames of each clip, int64.
        weights: (B, F) how much each frame counts in mean and std, or None: all valid ones count 1.
    """

    values: Tensor
    lengths: Tensor
    weights: Tensor | None = None

    def mask(self) -> Tensor:
        """(B, F) bool, True at valid frames."""
        positions = torch.arange(self.values.shape[2], device=self.values.device)
        return positions[None, :] < self.lengths.to(self.values.device)[:, None]


@dataclass(frozen=True)
class Moments:
    """What pooling needs to know of a clip or of a part of it: parts join without loss.

    Attributes:
        weight: (B,) total weight of the frames.
        mean: (B, L, D) weighted mean.
        scatter: (B, L, D) weighted sum of squared deviations from `mean`.
        maximum: (B, L, D) maximum over valid frames.
    """

    weight: Tensor
    mean: Tensor
    scatter: Tensor | None
    maximum: Tensor | None

    @classmethod
    def of(cls, frames: Frames, methods: Sequence[str]) -> Moments:
        """Moments of each clip of a batch, in float32; only what `methods` needs is computed."""
        mask = frames.mask()
        values = frames.values.float().masked_fill(~mask[:, None, :, None], 0.0)
        weights = mask.float() if frames.weights is None else frames.weights.float() * mask
        total = weights.sum(dim=1)
        mean = torch.einsum("blfd,bf->bld", values, weights) / total[:, None, None]
        scatter = maximum = None
        if "std" in methods:
            scatter = torch.einsum("blfd,bf->bld", (values - mean[:, :, None]).square_(), weights)
            scatter = scatter * (frames.lengths.to(values.device) > 1)[:, None, None]  # one frame: exactly 0
        if "max" in methods:
            maximum = values.masked_fill(~mask[:, None, :, None], -torch.inf).amax(dim=2)
        return cls(total, mean, scatter, maximum)

    def join(self, other: Moments) -> Moments:
        """Moments of both parts together (Chan, Golub & LeVeque 1979)."""
        weight = self.weight + other.weight
        share = (other.weight / weight)[:, None, None]
        delta = other.mean - self.mean
        scatter = maximum = None
        if self.scatter is not None and other.scatter is not None:
            scatter = self.scatter + other.scatter + delta.square() * (self.weight[:, None, None] * share)
        if self.maximum is not None and other.maximum is not None:
            maximum = torch.maximum(self.maximum, other.maximum)
        return Moments(weight, self.mean + delta * share, scatter, maximum)

    def pooled(self, method: str) -> Tensor:
        """(B, L, D) clip vectors: `mean`, `std` (of the population; 0 for one frame) or `max`."""
        if method == "mean":
            return self.mean
        if method == "std" and self.scatter is not None:
            return (self.scatter / self.weight[:, None, None]).sqrt()
        if method == "max" and self.maximum is not None:
            return self.maximum
        raise ValueError(f"pooling {method!r} was not asked for")


def pool(frames: Frames, methods: Sequence[str]) -> dict[str, Tensor]:
    """Pool each clip's valid frames.

    Args:
        frames: A batch of frame embeddings.
        methods: Any of `POOLINGS`.

    Returns:
        One (B, L, D) float32 tensor per method.
    """
    moments = Moments.of(frames, methods)
    return {method: moments.pooled(method) for method in methods}
