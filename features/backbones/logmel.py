"""Log-mel (or mel power) spectrograms: the input of spectrogram models, and a handcrafted control when pooled.

Frames are centred on their hop and see zeros beyond both ends of the clip, so a clip of T samples has
ceil(T / hop_length) of them. The windows of a long clip hold whole hops: frames join on one time grid,
and only the few whose analysis window crosses a joint see zeros instead of the other side.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from features.audio.mel import MelOptions
from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.options import BackboneOptions
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.logmel_network import LogmelBackbone

FAMILY = Family(libraries=("librosa",), fp32_only=True)


class Options(BackboneOptions, MelOptions):
    """An entry of `features.backbones` for mel spectrograms; it has no weights."""

    max_duration_s: float = Field(120.0, ge=10.0, description="longer clips go through in windows of this length")


def summary(options: Any) -> dict[str, Any]:
    """What `audioheads backbones ls` shows."""
    return {
        "weights": "none",
        "sample_rate_hz": Options.model_fields["sample_rate_hz"].default,
        "summary": "log-mel bands; input of spectrogram models, handcrafted when pooled",
    }


def describe(options: Options) -> BackboneSpec:
    """The spec; nothing to find."""
    hops = int(options.max_duration_s * options.sample_rate_hz) // options.hop_length
    return BackboneSpec(
        name=options.name,
        family="logmel",
        weights="none",
        weights_sha256="",
        sample_rate=options.sample_rate_hz,
        layers=(0,),
        dim=options.n_mels,
        frame_rate=options.sample_rate_hz / options.hop_length,
        min_duration_s=1 / options.sample_rate_hz,
        max_duration_s=max(1, hops) * options.hop_length / options.sample_rate_hz,
        settings={
            "n_fft": options.n_fft,
            "hop_length": options.hop_length,
            "f_min_hz": options.f_min_hz,
            "f_max_hz": options.f_max_hz or options.sample_rate_hz / 2,
            "mel_scale": options.mel_scale,
            "scale": options.scale,
            "framing": "centred on hops, zeros outside",
        },
    )


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Nothing to copy."""
    return Bundle({})


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> LogmelBackbone:
    """The transform; it runs in float32 whatever `precision` says."""
    import torch

    from features.backbones.logmel_network import LogmelBackbone

    return LogmelBackbone(spec, torch.device(device))
