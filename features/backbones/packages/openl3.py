"""OpenL3 (Cramer et al. 2019): a network of this project that loads the files of torchopenl3."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.packages.published_file import SizedFileOptions, build_network, save_copy, weights_digest
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from features.backbones.packages.networks.openl3 import OpenL3Backbone

SAMPLE_RATE, WINDOW_SAMPLES, HOP_SAMPLES = 48_000, 48_000, 4_800
CHANNELS = {"base": (64, 64, 128, 128, 256, 256, 512, 512), "tiny": (2, 2, 4, 4, 8, 8, 16, 16)}
PAGE = "https://github.com/torchopenl3/torchopenl3-models"
FILES_ARE_AT = f"the files are at {PAGE}"
NOT_USED = ("speclayer.dft_real_kernels", "speclayer.dft_imag_kernels")  # fixed filters, which are computed here

_ENV = Preset(  # facts from torchopenl3 1.0.1, models.py, core.py and utils.py; the licence from openl3's README
    weights="weights/torchopenl3_mel256_env_512.pth.tar",
    options={"input_repr": "mel256", "embedding_size": 512},
    files=("torchopenl3_mel256_env_512.pth.tar",),
    page=PAGE,
    input=InputContract(
        sample_rate_hz=SAMPLE_RATE,
        window_samples=WINDOW_SAMPLES,
        hop_samples=HOP_SAMPLES,
        shortest_s=1 / SAMPLE_RATE,
        normalisation="decibels of 256 mel bands below the loudest value of each window, at least -80",
        padding="half a second of zeros at the start, zeros to a whole window at the end",
    ),
    layers=1,
    layer_order="the embedding of each window",
    dim=512,
    parameters=4_687_042,
    licence="cc-by-4.0",
    citation="Cramer et al. 2019, Look, listen and learn more, doi:10.1109/ICASSP.2019.8682475",
    pretrained_on=("AudioSet",),
)


def _preset(content: Literal["env", "music"], size: Literal[512, 6144]) -> Preset:
    """Return the record of another file."""
    file = f"torchopenl3_mel256_{content}_{size}.pth.tar"
    options = {**_ENV.options, "embedding_size": size}
    return replace(_ENV, weights=f"weights/{file}", files=(file,), options=options, dim=size)


PRESETS = {
    "openl3-env": _ENV,
    "openl3-env-6144": _preset("env", 6144),
    "openl3-music": _preset("music", 512),
    "openl3-music-6144": _preset("music", 6144),
}

FAMILY = Family(presets=PRESETS, weights_from="file", libraries=("librosa",), fp32_only=True)


class Options(SizedFileOptions):
    """An entry of `features.backbones` for OpenL3."""

    weights: str = Field(description="local file `torchopenl3_….pth.tar`, `.safetensors`, or `random`")
    input_repr: Literal["linear", "mel128", "mel256"] = Field(
        "mel256", description="the spectrogram that the weights were trained on, the second part of the file's name"
    )
    embedding_size: Literal[512, 6144] = Field(512, description="dimension of an embedding, for the same weights")
    hop_s: float = Field(
        HOP_SAMPLES / SAMPLE_RATE, ge=0.01, le=1.0, description="seconds from one window of 1 s to the next"
    )


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .pth.tar"),
        "sample_rate_hz": SAMPLE_RATE,
        "summary": "OpenL3: one vector per window of 1 s, every 0.1 s",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist.
    """
    network = {"network": "OpenL3", "size": options.size, "input_repr": options.input_repr}
    hop = round(options.hop_s * SAMPLE_RATE)
    return BackboneSpec(
        name=options.name,
        family="openl3",
        weights=options.weights,
        weights_sha256=weights_digest(options, network, FILES_ARE_AT),
        sample_rate=SAMPLE_RATE,
        layers=(0,),
        dim=CHANNELS[options.size][-1] * options.embedding_size // CHANNELS["base"][-1],
        frame_rate=SAMPLE_RATE / hop,
        min_duration_s=1 / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"input_repr": options.input_repr, "window_samples": WINDOW_SAMPLES, "hop_samples": hop},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> OpenL3Backbone:
    """Build the network and load its weights; it runs in float32, and `precision` is ignored.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.packages.networks.openl3 import OpenL3, OpenL3Backbone

    module = build_network(
        options,
        lambda: OpenL3(options.input_repr, options.embedding_size, CHANNELS[options.size]),
        part="model",
        ignore=NOT_USED,
        where=FILES_ARE_AT,
    )
    return OpenL3Backbone(module, spec, torch.device(device))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)
