"""MuQ (Zhu et al. 2025), an encoder of music: a network of this project that loads the published file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from features.backbones.base import Bundle
from features.backbones.family import Family
from features.backbones.packages.published_file import (
    SizedFileOptions,
    build_network,
    check_config,
    save_copy,
    weights_digest,
)
from features.backbones.presets.record import InputContract, Preset
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

    from features.backbones.packages.networks.muq import MuqBackbone


class Size(NamedTuple):
    """The size of a network: width, number of layers, attention heads of a layer, channels of the convolutions."""

    dim: int
    depth: int
    n_heads: int
    channels: int


SAMPLE_RATE = 24_000
FRAME_SAMPLES = 960  # 40 ms, of one frame of the output
FIELD_SAMPLES = 6_368  # under the convolutions of one frame: 19 mel frames of 2048 samples, 240 apart
SHORTEST_SAMPLES = 1_025  # reflection at both ends needs more than half a mel frame
SIZES = {"base": Size(1024, 12, 16, 512), "tiny": Size(16, 2, 2, 4)}
FILE_IS_AT = "it is model.safetensors of https://huggingface.co/OpenMuQ/MuQ-large-msd-iter"
PUBLISHED = "model."  # before the names of the published file
# tensors of the pretraining, and a positional convolution that transformers' encoder does not use
NOT_USED = ("linear.", "cls_token", "rvq.", "quantizer_", "recon_proj.", "conformer.pos_conv_embed.")

PRESETS = {
    "muq-large-msd-iter": Preset(  # facts from muq 0.1.0: README, LICENSE_weights, muq/models/muq_model.py
        weights="hub:OpenMuQ/MuQ-large-msd-iter/model.safetensors",
        revision="0562a57814f6f8bbd9fdea0a25921a2fce1a841a",
        files=("model.safetensors", "config.json"),
        input=InputContract(
            sample_rate_hz=SAMPLE_RATE,
            window_samples=FIELD_SAMPLES,
            hop_samples=FRAME_SAMPLES,
            shortest_s=SHORTEST_SAMPLES / SAMPLE_RATE,
            normalisation="decibels of 128 mel bands, less a mean, divided by a deviation of the training corpus",
            padding="none: clips of one length are processed together",
        ),
        layers=SIZES["base"].depth + 1,
        dim=SIZES["base"].dim,
        parameters=316_343_296,
        licence="cc-by-nc-4.0",
        citation="Zhu et al. 2025, MuQ, arXiv:2501.01108",
        pretrained_on=("Million Song Dataset",),
    ),
}

FAMILY = Family(presets=PRESETS, weights_from="file", libraries=("librosa", "transformers"), fp32_only=True)


class Options(SizedFileOptions):
    """An entry of `features.backbones` for MuQ."""

    weights: str = Field(
        description="local file `model.safetensors` of MuQ, a file of the hub, "
        "`hub:org/name/file@revision`, or `random`"
    )


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    dim, depth, *_ = SIZES[getattr(options, "size", "base")]
    return {
        "weights": getattr(options, "weights", "local .safetensors"),
        "sample_rate_hz": SAMPLE_RATE,
        "summary": f"MuQ: {depth + 1} hidden states of {dim} dimensions, one frame per 40 ms of music",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist, or cannot be downloaded.
    """
    dim, depth, *_ = SIZES[options.size]
    return BackboneSpec(
        name=options.name,
        family="muq",
        weights=options.weights,
        weights_sha256=weights_digest(options, {"network": "MuQ", "size": options.size}, FILE_IS_AT),
        sample_rate=SAMPLE_RATE,
        layers=tuple(range(depth + 1)),
        dim=dim,
        frame_rate=SAMPLE_RATE / FRAME_SAMPLES,
        min_duration_s=SHORTEST_SAMPLES / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"whole": False, "batched": True},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> MuqBackbone:
    """Build the network and load its weights; it runs in float32, and `precision` is ignored.

    Raises:
        WeightsError: The weights or their configuration do not fit the architecture.
    """
    import torch

    from features.backbones.packages.networks.muq import Muq, MuqBackbone

    check_config(options, _settings(SIZES[options.size]), FILE_IS_AT)
    module = build_network(
        options, lambda: Muq(*SIZES[options.size]), part=None, rename=encoder_of, ignore=NOT_USED, where=FILE_IS_AT
    )
    return MuqBackbone(module, spec, torch.device(device))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)


def encoder_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors of the published file as the network does; its own names stay as they are."""
    return {name.removeprefix(PUBLISHED): tensor for name, tensor in state.items()}


def _settings(size: Size) -> dict[str, Any]:
    """Return the settings of the published configuration that shapes of tensors do not show."""
    from features.backbones.packages.networks.muq import HOP_LENGTH, MEAN, ROTARY_BASE, STD

    return {
        "label_rate": SAMPLE_RATE // FRAME_SAMPLES,
        "hop_length": HOP_LENGTH,
        "stat": {"melspec_2048_mean": MEAN, "melspec_2048_std": STD},
        "w2v2_config": {
            "hidden_act": "swish",
            "num_attention_heads": size.n_heads,
            "position_embeddings_type": "rotary",
            "rotary_embedding_base": ROTARY_BASE,
        },
    }
