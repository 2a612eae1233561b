"""Unchanged waveforms: decoded and resampled once, and cached for models that learn from samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from features.backbones.base import Backbone, Bundle
from features.backbones.family import Family, always_cpu
from features.backbones.options import BackboneOptions
from features.backbones.presets.record import Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

    from features.pooling import Frames

DEFAULT_SAMPLE_RATE = 16_000

FAMILY = Family(
    fp32_only=True,
    runs_on=always_cpu,
    record=Preset(layers=1, layer_order="the samples", dim=1, parameters=0, pretrained_on=()),
)


class Options(BackboneOptions):
    """An entry of `features.backbones` that caches samples; meant for the pooling `frames`."""

    max_duration_s: float = Field(120.0, ge=10.0, description="longer clips are processed in windows of this length")
    sample_rate_hz: int = Field(DEFAULT_SAMPLE_RATE, ge=1000, description="clips are resampled to this rate")


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": "none",
        "sample_rate_hz": DEFAULT_SAMPLE_RATE,
        "summary": "the samples themselves; input of raw-wave models",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; there are no weights to find."""
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
    """Return an empty bundle; there are no files to copy."""
    return Bundle({})


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> WaveformBackbone:
    """Return the identity; it runs on the CPU."""
    return WaveformBackbone(spec)


class WaveformBackbone(Backbone):
    """The identity: every sample is a frame of one dimension, so windows of a long clip join exactly."""

    def __init__(self, spec: BackboneSpec) -> None:
        """Store the spec."""
        import torch

        self.spec = spec
        self.device = torch.device("cpu")

    @property
    def parameters(self) -> int:
        """0: there are no parameters."""
        return 0

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`."""
        from features.pooling import Frames

        return Frames(waveforms[:, None, :, None], lengths.cpu())
