"""BEATs (Chen et al. 2022): a network of this project that loads the published file."""

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
    from features.backbones.packages.networks.beats import BeatsBackbone

SAMPLE_RATE = 16_000
SHORTEST_SAMPLES = 2_800  # 16 frames of the filter bank, one patch
PATCH_SAMPLES, PATCHES_PER_TIME = 2_560, 8  # 16 frames of 10 ms; 128 mel bands in patches of 16
LAYERS, DIMS = {"tiny": 3, "base": 13}, {"tiny": 48, "base": 768}
PAGE = "https://github.com/microsoft/unilm/tree/master/beats"
FILES_ARE_AT = f"the files are listed at {PAGE}"
# what the shapes of the tensors do not show
SETTINGS = {
    "layer_norm_first": False,
    "deep_norm": True,
    "activation_fn": "gelu",
    "relative_position_embedding": True,
    "num_buckets": 320,
    "max_distance": 800,
    "gru_rel_pos": True,
}
# the classifier of fine-tuned models, and the copies of the first layer's table of positions
NOT_USED = ("predictor.", *(f"encoder.layers.{at}.self_attn.relative_attention_bias." for at in range(1, 12)))
WEIGHT_NORM = {  # names before torch 2 -> names now
    "encoder.pos_conv.0.weight_g": "encoder.pos_conv.0.parametrizations.weight.original0",
    "encoder.pos_conv.0.weight_v": "encoder.pos_conv.0.parametrizations.weight.original1",
}

_ITER1 = Preset(  # facts from the publisher's BEATs.py, backbone.py and README
    weights="weights/BEATs_iter1.pt",
    files=("BEATs_iter1.pt",),
    page=PAGE,
    input=InputContract(
        sample_rate_hz=SAMPLE_RATE,
        window_samples=SHORTEST_SAMPLES,
        hop_samples=PATCH_SAMPLES,
        shortest_s=SHORTEST_SAMPLES / SAMPLE_RATE,
        normalisation="Kaldi filter bank of 128 mel bands, less its mean over AudioSet, divided by twice its deviation",
    ),
    layers=LAYERS["base"],
    layer_order="the input of the transformer, then the output of each layer; a frame is a patch of 16 mel bands",
    dim=DIMS["base"],
    parameters=90_311_792,
    licence="mit",
    citation="Chen et al. 2022, BEATs, arXiv:2212.09058",
    pretrained_on=("AudioSet",),
)


def _preset(file: str, **changes: Any) -> Preset:
    """Return the record of another file."""
    return replace(_ITER1, weights=f"weights/{file}", files=(file,), **changes)


PRESETS = {
    "beats-iter1": _ITER1,
    "beats-iter2": _preset("BEATs_iter2.pt"),
    "beats-iter3": _preset("BEATs_iter3.pt"),
    "beats-iter3-plus-as20k": _preset("BEATs_iter3_plus_AS20K.pt"),
    "beats-iter3-plus-as2m": _preset("BEATs_iter3_plus_AS2M.pt"),
    "beats-iter3-plus-as2m-finetuned": _preset(
        "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt", finetuned_on=("AudioSet",)
    ),
}

FAMILY = Family(presets=PRESETS, weights_from="file", libraries=("torchaudio",), fp32_only=True)


class Options(SizedFileOptions):
    """An entry of `features.backbones` for BEATs."""

    weights: str = Field(description="local file `BEATs_….pt` of the publisher, `.safetensors`, or `random`")


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .pt"),
        "sample_rate_hz": SAMPLE_RATE,
        "summary": "BEATs: encoder of spectrogram patches, every layer",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist.
    """
    hop = PATCH_SAMPLES // PATCHES_PER_TIME
    return BackboneSpec(
        name=options.name,
        family="beats",
        weights=options.weights,
        weights_sha256=weights_digest(options, {"network": "BEATs", "size": options.size}, FILES_ARE_AT),
        sample_rate=SAMPLE_RATE,
        layers=tuple(range(LAYERS[options.size])),
        dim=DIMS[options.size],
        frame_rate=SAMPLE_RATE / hop,
        min_duration_s=SHORTEST_SAMPLES / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"whole": False, "batched": True, "window_samples": SHORTEST_SAMPLES, "hop_samples": hop},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> BeatsBackbone:
    """Build the network and load its weights; it runs in float32, and `precision` is ignored.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.packages.networks.beats import BASE, TINY, Beats, BeatsBackbone

    size = {"tiny": TINY, "base": BASE}[options.size]
    module = build_network(
        options,
        lambda: Beats(size),
        part="model",
        ignore=NOT_USED,
        where=FILES_ARE_AT,
        rename=lambda state: {WEIGHT_NORM.get(name, name): tensor for name, tensor in state.items()},
        expected={"cfg": {**SETTINGS, "encoder_attention_heads": size.heads}},
    )
    return BeatsBackbone(module, spec, torch.device(device))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)
