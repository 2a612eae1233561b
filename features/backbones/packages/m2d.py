"""Masked Modeling Duo (Niizumi et al. 2023): a network of this project that loads the released files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.packages.published_file import SizedFileOptions, build_network, save_copy, weights_digest
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

    from features.backbones.packages.networks.m2d import M2dBackbone

SAMPLE_RATE = 16_000
SHORTEST_SAMPLES = 400  # one frame; reflection at both ends needs more than 200
FRAME_SAMPLES = 2_560  # 16 frames of 10 ms
BANDS = 5  # patches of 16 mel bands in a frame
SIZES = {"base": (768, 12, 12), "tiny": (32, 2, 4)}  # dimension of a patch, layers, attention heads
PAGE = "https://github.com/nttcslab/m2d/releases"
FILES_ARE_AT = f"the files are at {PAGE}"
FINE_TUNED = "module.ar.runtime.backbone."  # before the names of files that were fine-tuned
ENCODER = ("cls_token", "pos_embed", "patch_embed.", "blocks.", "norm.", "norm_stats")  # other tensors train it
RENAMED = {  # parts of names in the published file -> in torch's layers
    "attn.qkv.": "self_attn.in_proj_",
    "attn.proj.": "self_attn.out_proj.",
    "mlp.fc1.": "linear1.",
    "mlp.fc2.": "linear2.",
}

_M2D = Preset(  # facts from the publisher's examples/portable_m2d.py and README; its LICENSE.pdf was not read
    weights="weights/m2d_vit_base-80x608p16x16-220930-mr7/checkpoint-300.pth",
    files=("checkpoint-300.pth",),
    page=PAGE,
    input=InputContract(
        sample_rate_hz=SAMPLE_RATE,
        window_samples=FRAME_SAMPLES,
        hop_samples=FRAME_SAMPLES,
        shortest_s=SHORTEST_SAMPLES / SAMPLE_RATE,
        normalisation="logarithm of 80 mel bands from 50 to 8000 Hz, less a mean, divided by a deviation of the file",
        padding="reflection at both ends, then the mean to whole patches",
    ),
    layers=1,
    layer_order="the frames of the last layer",
    dim=BANDS * SIZES["base"][0],
    parameters=85_400_832,
    citation="Niizumi et al. 2023, Masked Modeling Duo, arXiv:2210.14648",
    pretrained_on=("AudioSet",),
)

PRESETS = {
    "m2d-mr7": _M2D,
    "m2d-mr6": replace(_M2D, weights="weights/m2d_vit_base-80x608p16x16-221006-mr6/checkpoint-300.pth"),
    "msm-mae": replace(
        _M2D,
        weights="weights/msm_mae_vit_base-80x608p16x16-220924-mr75/checkpoint-300.pth",
        citation="Niizumi et al. 2022, Masked spectrogram modeling using masked autoencoders, arXiv:2204.12260",
    ),
}

FAMILY = Family(presets=PRESETS, weights_from="file", libraries=("librosa",), fp32_only=True)


class Options(SizedFileOptions):
    """An entry of `features.backbones` for M2D."""

    weights: str = Field(
        description="local file `checkpoint-….pth` of a release `…-80x608p16x16-…`, `.safetensors`, or `random`"
    )


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .pth"),
        "sample_rate_hz": SAMPLE_RATE,
        "summary": "M2D: vision transformer of spectrogram patches, a 3840-d vector per 0.16 s",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist.
    """
    return BackboneSpec(
        name=options.name,
        family="m2d",
        weights=options.weights,
        weights_sha256=weights_digest(options, {"network": "M2D", "size": options.size}, FILES_ARE_AT),
        sample_rate=SAMPLE_RATE,
        layers=(0,),
        dim=BANDS * SIZES[options.size][0],
        frame_rate=SAMPLE_RATE / FRAME_SAMPLES,
        min_duration_s=SHORTEST_SAMPLES / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"whole": False, "batched": True},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> M2dBackbone:
    """Build the network and load its weights; it runs in float32, and `precision` is ignored.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.packages.networks.m2d import M2d, M2dBackbone

    module = build_network(
        options, lambda: M2d(*SIZES[options.size]), part="model", ignore=(), where=FILES_ARE_AT, rename=encoder_of
    )
    return M2dBackbone(module, spec, torch.device(device))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)


def encoder_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder's tensors of a checkpoint with the names of torch's layers, which stay as they are.

    The first releases have no statistics of the spectrogram; they get those of the publisher's code.
    """
    import torch

    from features.backbones.packages.networks.m2d import MEAN, STD

    encoder = {"norm_stats": torch.tensor([MEAN, STD])}
    for name, tensor in state.items():
        plain = name.removeprefix(FINE_TUNED)
        if plain.startswith(ENCODER):
            for old, new in RENAMED.items():
                plain = plain.replace(old, new)
            encoder[plain] = tensor
    return encoder
