"""MFCC and spectral statistics as in librosa: the handcrafted control that every backbone should beat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.backbones.base import Bundle
from features.backbones.family import Candidate, Family, always_cpu
from features.backbones.networks.mfcc_frontend import DIM, HOP_LENGTH, N_FFT, N_MELS, N_MFCC, SAMPLE_RATE
from features.backbones.options import BackboneOptions
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.networks.mfcc import MfccBackbone

FAMILY = Family(
    libraries=("librosa", "scipy"),
    fp32_only=True,
    runs_on=always_cpu,
    record=Preset(
        input=InputContract(SAMPLE_RATE, N_FFT, HOP_LENGTH, shortest_s=N_FFT / SAMPLE_RATE),
        layers=1,
        layer_order="the features of each frame",
        dim=DIM,
        parameters=0,
        citation="McFee et al. 2015, librosa",
        pretrained_on=(),
    ),
    candidates=(Candidate("mfcc", "handcrafted features, the control that needs no weights", None, 0.0, None),),
)


class Options(BackboneOptions):
    """An entry of `features.backbones` for the handcrafted control; it has no weights."""


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": "none",
        "sample_rate_hz": SAMPLE_RATE,
        "summary": f"{N_MFCC} MFCC, deltas, spectral statistics: {DIM}-d, handcrafted",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; there are no weights to find."""
    return BackboneSpec(
        name=options.name,
        family="mfcc",
        weights="none",
        weights_sha256="",
        sample_rate=SAMPLE_RATE,
        layers=(0,),
        dim=DIM,
        frame_rate=SAMPLE_RATE / HOP_LENGTH,
        min_duration_s=N_FFT / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"n_fft": N_FFT, "hop_length": HOP_LENGTH, "n_mels": N_MELS, "n_mfcc": N_MFCC},
    )


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Return an empty bundle; there are no files to copy."""
    return Bundle({})


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> MfccBackbone:
    """The transform; it runs on the CPU in float32 whatever `device` and `precision` say."""
    from features.backbones.networks.mfcc import MfccBackbone

    return MfccBackbone(spec)
