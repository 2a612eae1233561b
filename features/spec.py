"""What a backbone computes, said without loading it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BackboneSpec:
    """What a backbone computes; with the audio and pooling settings it decides a cache's fingerprint.

    Attributes:
        name: The name it was asked for by.
        family: The kind of backbone: a line of the table in `features.backbones`.
        weights: Where they come from: a hub id, a path, `random` or `none`.
        weights_sha256: Digest of the weights, or of the seeded recipe of random ones; empty without weights.
        sample_rate: Hz of the waveforms it takes.
        layers: Indices of the layers it gives.
        dim: D, dimensions of an embedding.
        frame_rate: Frames per second.
        min_duration_s: Shorter clips are zero-padded to this length.
        max_duration_s: Longer clips go through in windows of this length.
        settings: Whatever else changes a value, by name.
    """

    name: str
    family: str
    weights: str
    weights_sha256: str
    sample_rate: int
    layers: tuple[int, ...]
    dim: int
    frame_rate: float
    min_duration_s: float
    max_duration_s: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def min_samples(self) -> int:
        """`min_duration_s` in samples."""
        return round(self.min_duration_s * self.sample_rate)

    @property
    def max_samples(self) -> int:
        """`max_duration_s` in samples."""
        return round(self.max_duration_s * self.sample_rate)

    @property
    def untrained(self) -> bool:
        """Whether the weights are random."""
        return self.weights == "random"
