"""AVES and BirdAVES (Hagiwara 2023): HuBERT encoders of animal sounds, from the files published for torchaudio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from features.backbones.base import Bundle, check_precision
from features.backbones.family import Family
from features.backbones.packages.published_file import FileOptions, build_network, save_copy, weights_digest
from features.backbones.presets.record import Preset
from features.backbones.presets.wav2vec2 import AS_IT_IS
from features.backbones.wav2vec2_architectures import SIZES
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from features.backbones.networks.wav2vec2 import Wav2Vec2Backbone

DIMS, LAYERS = {"tiny": 96, "base": 768, "large": 1024}, {"tiny": 4, "base": 13, "large": 25}
PAGE = "https://github.com/earthspecies/aves"
FILES_ARE_AT = f"the files for torchaudio are listed at {PAGE}"
# beginnings of names in torchaudio's network -> in that of transformers; weight norm had other names before torch 2
RENAMED = {
    "encoder.feature_projection.": "feature_projection.",
    "encoder.transformer.": "encoder.",
    "encoder.pos_conv_embed.conv.weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "encoder.pos_conv_embed.conv.weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
}

_CORE = Preset(  # facts from esp-aves 1.0.0: aves.py, its README and the configurations of the models
    weights="weights/aves-base-core.torchaudio.pt",
    options={"size": "base"},
    files=("aves-base-core.torchaudio.pt",),
    page=PAGE,
    input=AS_IT_IS,
    layers=LAYERS["base"],
    dim=DIMS["base"],
    parameters=94_370_944,
    licence="mit",
    citation="Hagiwara 2023, AVES, arXiv:2210.14493",
    pretrained_on=("FSD50K", "AudioSet"),
)


def _preset(name: str, *corpora: str, **changes: Any) -> Preset:
    """Return the record of a model that saw more than the core corpora."""
    file = f"{name}.torchaudio.pt"
    seen = ("FSD50K", "AudioSet", *corpora)
    return replace(_CORE, weights=f"weights/{file}", files=(file,), pretrained_on=seen, **changes)


_LARGE: dict[str, Any] = {
    "options": {"size": "large"},
    "layers": LAYERS["large"],
    "dim": DIMS["large"],
    "parameters": 315_427_968,
}

PRESETS = {
    "aves-core": _CORE,
    "aves-bio": _preset("aves-base-bio", "VGGSound"),
    "aves-nonbio": _preset("aves-base-nonbio", "VGGSound"),
    "aves-all": _preset("aves-base-all", "VGGSound"),
    "birdaves-biox-base": _preset("birdaves-biox-base", "VGGSound", "Xeno-canto"),
    "birdaves-biox-large": _preset("birdaves-biox-large", "VGGSound", "Xeno-canto", **_LARGE),
    "birdaves-bioxn-large": _preset("birdaves-bioxn-large", "VGGSound", "Xeno-canto", "iNaturalist", **_LARGE),
}

FAMILY = Family(presets=PRESETS, weights_from="file", libraries=("transformers",))


class Options(FileOptions):
    """An entry of `features.backbones` for a model of AVES."""

    weights: str = Field(description="local file `….torchaudio.pt` of AVES, `.safetensors`, or `random`")
    size: Literal["tiny", "base", "large"] = Field(
        "base", description="the size of the network; the published weights are `base` or `large`"
    )


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "local .pt"),
        "sample_rate_hz": AS_IT_IS.sample_rate_hz,
        "summary": "AVES: HuBERT encoder of animal sounds, every layer",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; the file is found and hashed, but not loaded.

    Raises:
        WeightsError: The file does not exist.
    """
    return BackboneSpec(
        name=options.name,
        family="aves",
        weights=options.weights,
        weights_sha256=weights_digest(options, {"network": "AVES HuBERT", "size": options.size}, FILES_ARE_AT),
        sample_rate=AS_IT_IS.sample_rate_hz,
        layers=tuple(range(LAYERS[options.size])),
        dim=DIMS[options.size],
        frame_rate=AS_IT_IS.sample_rate_hz / AS_IT_IS.hop_samples,
        min_duration_s=AS_IT_IS.shortest_s,
        max_duration_s=options.max_duration_s,
        settings={"normalize": False},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> Wav2Vec2Backbone:
    """Build the network and load its weights.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.networks.wav2vec2 import Wav2Vec2Backbone

    def build() -> nn.Module:
        from transformers import HubertConfig, HubertModel

        config = HubertConfig(**SIZES[options.size], mask_time_prob=0.0)  # without the embedding of masked frames
        return HubertModel._from_config(config, attn_implementation="sdpa")

    module = build_network(options, build, part="model", rename=as_transformers, ignore=(), where=FILES_ARE_AT)
    return Wav2Vec2Backbone(module, spec, torch.device(device), check_precision(precision))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the network's weights as safetensors."""
    return save_copy(load(options, spec, device="cpu", precision="fp32").module, folder)


def as_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors of torchaudio's HuBERT as transformers does; names of transformers stay as they are."""
    for old, new in RENAMED.items():
        state = {new + name.removeprefix(old) if name.startswith(old) else name: state[name] for name in state}
    return state
