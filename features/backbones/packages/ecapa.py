"""ECAPA-TDNN of SpeechBrain (Desplanques et al. 2020): a network of this project that loads the published file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.packages.published_file import SizedFileOptions, build_network, save_copy, weights_digest
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.packages.networks.ecapa import EcapaBackbone


class Size(NamedTuple):
    """The size of a network: channels of a block and of their aggregation, of the bottlenecks, and of the output."""

    channels: int
    aggregated: int
    bottleneck: int
    dim: int


SAMPLE_RATE = 16_000
SHORTEST_SAMPLES = 640  # five frames: the widest convolution reflects four
SIZES = {"base": Size(1024, 3072, 128, 192), "tiny": Size(16, 24, 8, 12)}
FILE_IS_AT = "it is embedding_model.ckpt of https://huggingface.co/speechbrain/spkrec-ecapa-voxceleb"

PRESETS = {
    "ecapa-voxceleb": Preset(  # facts from speechbrain 1.1.2 (features.py, ECAPA_TDNN.py) and the model card
        weights="hub:speechbrain/spkrec-ecapa-voxceleb/embedding_model.ckpt",
        revision="0f99f2d0ebe89ac095bcc5903c4dd8f72b367286",
        files=("embedding_model.ckpt",),
        input=InputContract(
            sample_rate_hz=SAMPLE_RATE,
            window_samples=SHORTEST_SAMPLES,
            hop_samples=SHORTEST_SAMPLES,
            shortest_s=SHORTEST_SAMPLES / SAMPLE_RATE,
            normalisation="decibels of 80 mel bands, at most 80 below the loudest of the clip, without their mean",
            padding="none: clips of one length are processed together",
        ),
        layers=1,
        layer_order="the embedding of the clip",
        dim=SIZES["base"].dim,
        parameters=20_767_552,
        licence="apache-2.0",
        citation="Desplanques et al. 2020, ECAPA-TDNN, arXiv:2005.07143",
        pretrained_on=("VoxCeleb1", "VoxCeleb2"),
    ),
}

FAMILY = Family(presets=PRESETS, weights_from="file", fp32_only=True)


class Options(SizedFileOptions):
    """An entry of `features.backbones` for ECAPA-TDNN."""

    weights: str = Field(
        description="local file `embedding_model.ckpt` of SpeechBrain, `.safetensors`, a file of the hub, "
        "`hub:org/name/file@revision`, or `random`"
    )


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .ckpt"),
        "sample_rate_hz": SAMPLE_RATE,
        "summary": "ECAPA-TDNN of SpeechBrain: one 192-d vector per clip, of its speaker",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist, or cannot be downloaded.
    """
    return BackboneSpec(
        name=options.name,
        family="ecapa",
        weights=options.weights,
        weights_sha256=weights_digest(options, {"network": "ECAPA-TDNN", "size": options.size}, FILE_IS_AT),
        sample_rate=SAMPLE_RATE,
        layers=(0,),
        dim=SIZES[options.size].dim,
        frame_rate=1 / options.max_duration_s,
        min_duration_s=SHORTEST_SAMPLES / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"whole": True, "batched": True},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> EcapaBackbone:
    """Build the network and load its weights; it runs in float32, and `precision` is ignored.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.packages.networks.ecapa import EcapaBackbone, EcapaTdnn

    module = build_network(options, lambda: EcapaTdnn(*SIZES[options.size]), part=None, ignore=(), where=FILE_IS_AT)
    return EcapaBackbone(module, spec, torch.device(device))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)
