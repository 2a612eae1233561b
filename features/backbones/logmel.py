"""Log-mel (or mel power) spectrograms: the input of spectrogram models, and a handcrafted control when pooled.

Frames are centred on their hop, with zeros beyond both ends of the clip, so a clip of T samples has
ceil(T / hop_length) frames. The windows of a long clip are whole numbers of hops, so all frames are on one time grid.
Only the few frames whose analysis window crosses a window boundary use zeros instead of the neighbouring samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from features.audio.mel import MelOptions
from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.options import BackboneOptions
from features.backbones.presets.record import Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.networks.logmel import LogmelBackbone

FAMILY = Family(
    libraries=("librosa",),
    fp32_only=True,
    record=Preset(layers=1, layer_order="the bands of each frame", parameters=0, pretrained_on=()),
)


class Options(BackboneOptions, MelOptions):
    """An entry of `features.backbones` for mel spectrograms; it has no weights."""

    max_duration_s: float = Field(120.0, ge=10.0, description="longer clips are processed in windows of this length")


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": "none",
        "sample_rate_hz": Options.model_fields["sample_rate_hz"].default,
        "summary": "log-mel bands; input of spectrogram models, handcrafted when pooled",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; there are no weights to find."""
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
    """Return an empty bundle; there are no files to copy."""
    return Bundle({})


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> LogmelBackbone:
    """Return the transform; it runs in float32, and `precision` is ignored."""
    import torch

    from features.backbones.networks.logmel import LogmelBackbone

    return LogmelBackbone(spec, torch.device(device))
