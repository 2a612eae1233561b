"""Dasheng (Dinkel et al. 2024), a masked audio encoder: a network of this project that loads the published file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.packages.published_file import FileOptions, build_network, save_copy, weights_digest
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.packages.networks.dasheng import DashengBackbone


class Size(NamedTuple):
    """The size of a network: width, number of layers, attention heads of a layer."""

    dim: int
    depth: int
    n_heads: int


SAMPLE_RATE = 16_000
PATCH_SAMPLES = 640  # 40 ms, of one frame of the output
SHORTEST_SAMPLES = 480  # four mel frames, which are one patch
SIZES = {
    "base": Size(768, 12, 12),
    "0.6b": Size(1280, 32, 16),
    "1.2b": Size(1536, 40, 24),
    "tiny": Size(16, 2, 2),
}
PAGE = "https://zenodo.org/records/11511780"
FILE_IS_AT = f"it is at {PAGE}"
NOT_USED = ("front_end.",)  # fixed filters, which are computed here

_BASE = Preset(  # facts from dasheng 0.0.9: pretrained/pretrained.py, train/models.py
    weights="weights/dasheng_base.pt",
    files=("dasheng_base.pt",),
    page=PAGE,
    input=InputContract(
        sample_rate_hz=SAMPLE_RATE,
        window_samples=PATCH_SAMPLES,
        hop_samples=PATCH_SAMPLES,
        shortest_s=SHORTEST_SAMPLES / SAMPLE_RATE,
        normalisation="decibels of 64 mel bands, at most 120 below the loudest of the clip",
        padding="none: clips of one length are processed together",
    ),
    layers=SIZES["base"].depth + 1,
    dim=SIZES["base"].dim,
    parameters=85_447_808,
    licence="apache-2.0",
    citation="Dinkel et al. 2024, Scaling up masked audio encoder learning, arXiv:2406.06992",
    pretrained_on=("ACAV100M", "AudioSet", "MTG-Jamendo", "VGGSound"),
)


def _larger(size: str, file: str, parameters: int) -> Preset:
    """Return the record of a larger network."""
    return replace(
        _BASE,
        weights=f"weights/{file}",
        options={"size": size},
        files=(file,),
        layers=SIZES[size].depth + 1,
        dim=SIZES[size].dim,
        parameters=parameters,
    )


PRESETS = {
    "dasheng-base": _BASE,
    "dasheng-0.6b": _larger("0.6b", "dasheng_06b.pt", 630_333_568),
    "dasheng-1.2b": _larger("1.2b", "dasheng_12b.pt", 1_134_047_360),
}

FAMILY = Family(presets=PRESETS, weights_from="file", libraries=("librosa",), fp32_only=True)


class Options(FileOptions):
    """An entry of `features.backbones` for Dasheng."""

    weights: str = Field(description="local file such as `dasheng_base.pt`, `.safetensors`, or `random`")
    size: Literal["tiny", "base", "0.6b", "1.2b"] = Field(
        "base", description="the size of the network, which has to be that of the file"
    )


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    dim, depth, _ = SIZES[getattr(options, "size", "base")]
    return {
        "weights": getattr(options, "weights", "local .pt"),
        "sample_rate_hz": SAMPLE_RATE,
        "summary": f"Dasheng: {depth + 1} hidden states of {dim} dimensions, one frame per 40 ms",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist.
    """
    dim, depth, _ = SIZES[options.size]
    return BackboneSpec(
        name=options.name,
        family="dasheng",
        weights=options.weights,
        weights_sha256=weights_digest(options, {"network": "Dasheng", "size": options.size}, FILE_IS_AT),
        sample_rate=SAMPLE_RATE,
        layers=tuple(range(depth + 1)),
        dim=dim,
        frame_rate=SAMPLE_RATE / PATCH_SAMPLES,
        min_duration_s=SHORTEST_SAMPLES / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"whole": False, "batched": True},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> DashengBackbone:
    """Build the network and load its weights; it runs in float32, and `precision` is ignored.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.packages.networks.dasheng import Dasheng, DashengBackbone

    module = build_network(
        options, lambda: Dasheng(*SIZES[options.size]), part="model", ignore=NOT_USED, where=FILE_IS_AT
    )
    return DashengBackbone(module, spec, torch.device(device))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)
