"""The voice encoder of Resemblyzer, trained with the loss GE2E to tell speakers apart (Wan et al. 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.packages.published_file import FileOptions, build_network, save_copy, weights_digest
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.packages.networks.ge2e import Ge2eBackbone

SAMPLE_RATE = 16_000
WINDOW_SAMPLES, HOP_SAMPLES = 25_600, 12_320
DIM = 256
PAGE = "https://github.com/resemble-ai/Resemblyzer"
FILE_IS_IN = f"it is pretrained.pt of {PAGE}, and of its package on PyPI"
TRAINING_ONLY = ("similarity_weight", "similarity_bias")  # tensors of the loss

PRESETS = {
    "ge2e": Preset(  # facts from Resemblyzer 0.1.4: hparams.py, audio.py, voice_encoder.py
        weights="weights/ge2e.pt",
        files=("pretrained.pt",),
        page=PAGE,
        input=InputContract(
            sample_rate_hz=SAMPLE_RATE,
            window_samples=WINDOW_SAMPLES,
            hop_samples=HOP_SAMPLES,
            shortest_s=1 / SAMPLE_RATE,
            normalisation="a quiet clip is raised to -30 dB; mel powers of 40 bands",
            padding="zeros to a whole window; a last window covered by less than 0.75 is left out",
        ),
        layers=1,
        layer_order="the embedding of each window",
        dim=DIM,
        parameters=1_423_616,
        licence="apache-2.0",
        citation="Wan et al. 2018, Generalized end-to-end loss for speaker verification, arXiv:1710.10467",
        # as the author of the weights states in issue 3 of github.com/resemble-ai/Resemblyzer
        pretrained_on=("LibriSpeech", "VoxCeleb1", "VoxCeleb2"),
    ),
}

FAMILY = Family(presets=PRESETS, weights_from="file", libraries=("librosa",), fp32_only=True)


class Options(FileOptions):
    """An entry of `features.backbones` for Resemblyzer's voice encoder."""

    weights: str = Field(description="local file `pretrained.pt` of Resemblyzer, `.safetensors`, or `random`")


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .pt"),
        "sample_rate_hz": SAMPLE_RATE,
        "summary": "Resemblyzer's GE2E voice encoder: one 256-d vector per 0.77 s",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist.
    """
    return BackboneSpec(
        name=options.name,
        family="resemblyzer",
        weights=options.weights,
        weights_sha256=weights_digest(options, {"network": "Resemblyzer 0.1.4 VoiceEncoder"}, FILE_IS_IN),
        sample_rate=SAMPLE_RATE,
        layers=(0,),
        dim=DIM,
        frame_rate=SAMPLE_RATE / HOP_SAMPLES,
        min_duration_s=1 / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"window_samples": WINDOW_SAMPLES, "hop_samples": HOP_SAMPLES},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> Ge2eBackbone:
    """Build the network and load its weights; it runs in float32, and `precision` is ignored.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.packages.networks.ge2e import Ge2eBackbone, VoiceEncoder

    module = build_network(options, VoiceEncoder, part="model_state", ignore=TRAINING_ONLY, where=FILE_IS_IN)
    return Ge2eBackbone(module, spec, torch.device(device))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)
