"""CNN14 of PANNs (Kong et al. 2020): a network of this project that loads the published file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.packages.published_file import SizedFileOptions, build_network, save_copy, weights_digest
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.packages.networks.cnn14 import Cnn14Backbone

SAMPLE_RATE = 32_000
SHORTEST_SAMPLES = 9_920  # 32 frames, which the five poolings reduce to one
CHANNELS = {"base": (64, 128, 256, 512, 1024, 2048), "tiny": (2, 4, 4, 8, 8, 16)}
PAGE = "https://zenodo.org/records/3987831"
FILE_IS_AT = f"it is at {PAGE}"
# fixed filters, which are computed here, and the classifier
NOT_USED = ("spectrogram_extractor.", "logmel_extractor.", "fc_audioset.")

PRESETS = {
    # facts from panns-inference 0.1.1: models.py, inference.py; licence from Zenodo's record 3987831 as others quote it
    "panns-cnn14": Preset(
        weights="weights/Cnn14_mAP=0.431.pth",
        files=("Cnn14_mAP=0.431.pth",),
        page=PAGE,
        input=InputContract(
            sample_rate_hz=SAMPLE_RATE,
            window_samples=SHORTEST_SAMPLES,
            hop_samples=SHORTEST_SAMPLES,
            shortest_s=SHORTEST_SAMPLES / SAMPLE_RATE,
            normalisation="decibels of 64 mel bands from 50 to 14000 Hz",
        ),
        layers=1,
        layer_order="the embedding of the clip",
        dim=CHANNELS["base"][-1],
        parameters=79_673_792,
        licence="cc-by-4.0",
        citation="Kong et al. 2020, PANNs, arXiv:1912.10211",
        pretrained_on=("AudioSet",),
    ),
}

FAMILY = Family(presets=PRESETS, weights_from="file", libraries=("librosa",), fp32_only=True)


class Options(SizedFileOptions):
    """An entry of `features.backbones` for CNN14 of PANNs."""

    weights: str = Field(description="local file `Cnn14_mAP=0.431.pth` of PANNs, `.safetensors`, or `random`")


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .pth"),
        "sample_rate_hz": SAMPLE_RATE,
        "summary": "CNN14 of PANNs: one 2048-d vector per clip",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist.
    """
    return BackboneSpec(
        name=options.name,
        family="panns",
        weights=options.weights,
        weights_sha256=weights_digest(options, {"network": "PANNs Cnn14", "size": options.size}, FILE_IS_AT),
        sample_rate=SAMPLE_RATE,
        layers=(0,),
        dim=CHANNELS[options.size][-1],
        frame_rate=1 / options.max_duration_s,
        min_duration_s=SHORTEST_SAMPLES / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"whole": True, "batched": True},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> Cnn14Backbone:
    """Build the network and load its weights; it runs in float32, and `precision` is ignored.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.packages.networks.cnn14 import Cnn14, Cnn14Backbone

    module = build_network(
        options, lambda: Cnn14(CHANNELS[options.size]), part="model", ignore=NOT_USED, where=FILE_IS_AT
    )
    return Cnn14Backbone(module, spec, torch.device(device))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)
