"""Pool frames to clip vectors: masked, weighted, and exact across the windows of a long clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# In the order in which they are concatenated for a head.
POOLINGS = ("mean", "std", "max")


@dataclass(frozen=True)
class Frames:
    """Frame embeddings of a batch.

    Attributes:
        values: (B, L, F, D); frames beyond a clip's length are padding with arbitrary finite values.
        lengths: (B,) int64, number of valid frames of each clip.
        weights: (B, F) weights of the frames in mean and std; None gives all valid frames weight 1.
    """

    values: Tensor
    lengths: Tensor
    weights: Tensor | None = None

    def mask(self) -> Tensor:
        """Return a (B, F) bool mask, True at valid frames."""
        positions = torch.arange(self.values.shape[2], device=self.values.device)
        return positions[None, :] < self.lengths.to(self.values.device)[:, None]


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics for pooling a clip or a part of it; parts can be joined exactly.

    Attributes:
        weight: (B,) total weight of the frames.
        mean: (B, L, D) weighted mean.
        scatter: (B, L, D) weighted sum of squared deviations from `mean`; None if not needed.
        maximum: (B, L, D) maximum over valid frames; None if not needed.
    """

    weight: Tensor
    mean: Tensor
    scatter: Tensor | None
    maximum: Tensor | None

    @classmethod
    def of(cls, frames: Frames, methods: Sequence[str]) -> Moments:
        """Compute the moments of each clip of a batch in float32, as far as `methods` need them."""
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
        """Return the moments of both parts together (Chan, Golub & LeVeque 1979)."""
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
        """Return (B, L, D) clip vectors.

        Args:
            method: `mean`, `std` (population standard deviation; 0 for a single frame) or `max`.

        Raises:
            ValueError: The moments do not include what the method needs.
        """
        if method == "mean":
            return self.mean
        if method == "std" and self.scatter is not None:
            return (self.scatter / self.weight[:, None, None]).sqrt()
        if method == "max" and self.maximum is not None:
            return self.maximum
        raise ValueError(f"pooling {method!r} was not requested")


def pool(frames: Frames, methods: Sequence[str]) -> dict[str, Tensor]:
    """Pool each clip's valid frames.

    Args:
        frames: A batch of frame embeddings.
        methods: Any of `POOLINGS`.

    Returns:
        method -> (B, L, D) float32.
    """
    moments = Moments.of(frames, methods)
    return {method: moments.pooled(method) for method in methods}
