"""The spec of a backbone, available without loading it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class BackboneSpec:
    """What a backbone computes; with the audio and pooling settings it determines a cache's fingerprint.

    Attributes:
        name: The name used in the config.
        family: The backbone family, a row of the table in `features.backbones`.
        weights: The source of the weights: a hub id, a path, `random` or `none`.
        weights_sha256: Digest of the weights, or of the seed and recipe of random weights; empty without weights.
        sample_rate: Sample rate of the input in Hz.
        layers: Indices of the layers it returns.
        dim: D, dimension of an embedding.
        frame_rate: Frames per second.
        min_duration_s: Shorter clips are zero-padded to this length.
        max_duration_s: Longer clips are processed in windows of this length.
        settings: All other settings that change a value, by name.
        label: The label of the entry, if it has one; not stored in caches, which entries of several names can share.
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
    label: str = field(default="", compare=False)

    @property
    def title(self) -> str:
        """The name of the entry in messages, tables and names of new files: its label, or its name."""
        return self.label or self.name

    def stored(self) -> dict[str, Any]:
        """Return what files record: all fields but the label, which is the config's."""
        return {key: value for key, value in asdict(self).items() if key != "label"}

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
