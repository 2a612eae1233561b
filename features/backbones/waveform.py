"""Waveforms as they are: decoded and resampled once, kept for models that learn from samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from features.backbones.base import Backbone, Bundle
from features.backbones.family import Family
from features.backbones.options import BackboneOptions
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

    from features.pooling import Frames

DEFAULT_SAMPLE_RATE = 16_000

FAMILY = Family(fp32_only=True)


class Options(BackboneOptions):
    """An entry of `features.backbones` that keeps samples; meant for the pooling `frames`."""

    max_duration_s: float = Field(120.0, ge=10.0, description="longer clips go through in windows of this length")
    sample_rate_hz: int = Field(DEFAULT_SAMPLE_RATE, ge=1000, description="clips are resampled to this")


def summary(options: Any) -> dict[str, Any]:
    """What `audioheads backbones ls` shows."""
    return {
        "weights": "none",
        "sample_rate_hz": DEFAULT_SAMPLE_RATE,
        "summary": "the samples themselves; input of raw-wave models",
    }


def describe(options: Options) -> BackboneSpec:
    """The spec; nothing to find."""
    return BackboneSpec(
        name=options.name,
        family="waveform",
        weights="none",
        weights_sha256="",
        sample_rate=options.sample_rate_hz,
        layers=(0,),
        dim=1,
        frame_rate=float(options.sample_rate_hz),
        min_duration_s=1 / options.sample_rate_hz,
        max_duration_s=options.max_duration_s,
    )


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Nothing to copy."""
    return Bundle({})


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> WaveformBackbone:
    """The identity; it stays on the CPU."""
    return WaveformBackbone(spec)


class WaveformBackbone(Backbone):
    """Every sample is a frame of one dimension, so windows of a long clip join exactly."""

    def __init__(self, spec: BackboneSpec) -> None:
        """Hold the spec."""
        import torch

        self.spec = spec
        self.device = torch.device("cpu")

    @property
    def parameters(self) -> int:
        """None are learnt."""
        return 0

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`."""
        from features.pooling import Frames

        return Frames(waveforms[:, None, :, None], lengths.cpu())
