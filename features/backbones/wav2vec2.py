"""Wav2Vec2 and related encoders (HuBERT, WavLM, Data2Vec-audio, UniSpeech, UniSpeech-SAT): options, spec, weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from features.backbones import wav2vec2_architectures as architectures
from features.backbones.base import Bundle, check_precision
from features.backbones.family import Candidate, EndToEndTraining, Family
from features.backbones.loading import model_folders as folders
from features.backbones.loading import weights as found
from features.backbones.loading.digests import text_sha256
from features.backbones.loading.pretrained import load_pretrained, quiet_transformers
from features.backbones.options import BackboneOptions
from features.backbones.presets.derived import PRESETS as DERIVED
from features.backbones.presets.wav2vec2 import PRESETS as ENCODERS
from features.errors import ConfigError, WeightsError, first_line
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import nn

    from features.backbones.networks.wav2vec2 import Wav2Vec2Backbone


FAMILY = Family(
    presets={**ENCODERS, **DERIVED},
    weights_from="hub",
    libraries=("transformers",),
    end_to_end=EndToEndTraining(frozen_part="feature_extractor", gradient_checkpointing=True),
    candidates=(
        Candidate(
            "wav2vec2-nano", "small, pretrained on synthetic sounds, included in this package", None, 0.025, 0.38
        ),
        Candidate("wav2vec2-base", "pretrained on read English speech", True, 0.025, 14.0),
        Candidate("wavlm-base-plus", "pretrained on 94,000 hours of varied speech", True, 0.025, 14.0),
    ),
)


class Options(BackboneOptions):
    """An entry of `features.backbones` for any Wav2Vec2-like encoder."""

    weights: str = Field(description="hub id `org/name[@revision]`, folder from `save_pretrained`, or `random`")
    normalize: bool | None = Field(None, description="zero mean, unit variance per clip; None: as the folder states")
    read_as: str | None = Field(
        None, description="read a folder as this architecture instead of config.json's, such as MERT as `hubert`"
    )
    model_type: str = Field("wav2vec2", description="for `random`: which architecture")
    size: str = Field("base", description=f"for `random`: one of {', '.join(architectures.SIZES)}")
    architecture: dict[str, Any] = Field({}, description="for `random`: configuration values that differ from `size`'s")
    random_normalize: bool = Field(True, description="for `random`: the default of `normalize`")
    random_sample_rate_hz: int = Field(
        folders.DEFAULT_SAMPLE_RATE, ge=1000, description="for `random`: sample rate of the input"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="for `random`: seed of the weights")


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    return {
        "weights": getattr(options, "weights", "hub id, folder or random"),
        "sample_rate_hz": getattr(options, "random_sample_rate_hz", folders.DEFAULT_SAMPLE_RATE),
        "summary": f"{getattr(options, 'model_type', 'wav2vec2')} encoder, every layer",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec; weights are found and hashed, but not loaded.

    Raises:
        ConfigError: The size or architecture is unknown.
        WeightsError: The weights cannot be found or downloaded.
    """
    if options.weights == found.RANDOM:
        config = _random_config(options)
        digest = text_sha256({"random": options.seed, "config": architectures.plain(config)})
        normalize, sample_rate, stated = options.random_normalize, options.random_sample_rate_hz, True
    else:
        folder = found.find_model_folder(options.title, options.weights)
        config = _folder_config(options.title, folder, options.read_as)
        digest = folders.folder_sha256(folder)
        normalize, sample_rate, stated = folders.read_preprocessing(folder)
    receptive_field, hop = 1, 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        receptive_field = (receptive_field - 1) * stride + kernel
        hop *= stride
    return BackboneSpec(
        name=options.name,
        family="wav2vec2",
        weights=options.weights,
        weights_sha256=digest,
        sample_rate=sample_rate,
        layers=tuple(range(config.num_hidden_layers + 1)),
        dim=config.hidden_size,
        frame_rate=sample_rate / hop,
        min_duration_s=receptive_field / sample_rate,
        max_duration_s=options.max_duration_s,
        settings={
            "model_type": config.model_type,
            "config_sha256": text_sha256(architectures.plain(config)),
            "normalize": normalize if options.normalize is None else options.normalize,
            "normalize_assumed": options.normalize is None and not stated,
        },
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> Wav2Vec2Backbone:
    """Build the network and load its weights.

    Raises:
        ConfigError: The architecture is inconsistent.
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.networks.wav2vec2 import Wav2Vec2Backbone

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        if options.weights == found.RANDOM:
            module = _random_module(options)
        else:
            folder = found.find_model_folder(options.title, options.weights)
            module = _load_folder(options.title, folder, options.read_as)
    return Wav2Vec2Backbone(module.eval(), spec, torch.device(device), check_precision(precision))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the encoder with `save_pretrained`, and the settings of its preprocessing."""
    backbone = load(options, spec, device="cpu", precision="fp32")
    with quiet_transformers():
        backbone.module.save_pretrained(folder)
    write_preprocessing(folder, spec, backbone.module.config)
    return Bundle({"weights": "."}, {"normalize": None, "read_as": None})


def write_preprocessing(folder: Path, spec: BackboneSpec, config: Any) -> None:
    """Write `preprocessor_config.json` as transformers reads it."""
    about = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": spec.settings["normalize"],
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": getattr(config, "feat_extract_norm", "layer") == "layer",
        "sampling_rate": spec.sample_rate,
    }
    text = json.dumps(about, indent=2) + "\n"
    (folder / folders.PREPROCESSOR_FILES[0]).write_text(text, encoding="utf-8")


def blank(options: Options) -> dict[str, Any]:
    """Return options for random weights in the folder's architecture.

    Raises:
        WeightsError: The folder cannot be found or downloaded.
    """
    if options.weights == found.RANDOM:
        return {}
    folder = found.find_model_folder(options.title, options.weights)
    config = _folder_config(options.title, folder, options.read_as)
    usual = architectures.plain(architectures.config_class_of(config.model_type)())
    changed = {key: value for key, value in architectures.plain(config).items() if usual.get(key) != value}
    stated, sample_rate, _ = folders.read_preprocessing(folder)
    return {
        "weights": found.RANDOM,
        "read_as": None,
        "model_type": config.model_type,
        "size": "base",
        "architecture": {key: value for key, value in changed.items() if key in usual and key != "model_type"},
        "normalize": stated if options.normalize is None else options.normalize,
        "random_sample_rate_hz": sample_rate,
    }


def _random_config(options: Options) -> Any:
    """Return the configuration for untrained weights."""
    if options.size not in architectures.SIZES:
        known = ", ".join(architectures.SIZES)
        raise ConfigError(f"{options.title}: unknown size {options.size!r}: use one of {known}")
    try:
        config_class = architectures.config_class_of(options.model_type)
        unknown = sorted(options.architecture.keys() - config_class().to_dict().keys())
        if unknown:
            raise ValueError(f"architecture.{unknown[0]} is not a key of a {options.model_type} configuration")
        config = config_class(**{**architectures.SIZES[options.size], **options.architecture})
        architectures.check_encoder(config)
    except Exception as error:  # transformers checks configurations in many ways
        raise ConfigError(f"{options.title}: {' '.join(str(error).split())}") from None
    return config


def _random_module(options: Options) -> nn.Module:
    """Return the encoder with seeded random weights; this seeds torch's global generator."""
    import torch

    config = _random_config(options)
    torch.manual_seed(options.seed)
    try:
        return architectures.model_class_of(config.model_type)._from_config(
            config, **architectures.attention_of(config.model_type)
        )
    except ValueError as error:
        raise ConfigError(f"{options.title}: {first_line(error)}") from None


def _folder_config(name: str, folder: Path, read_as: str | None = None) -> Any:
    """Return the configuration in a folder's `config.json`, read as the architecture `read_as` if it is set."""
    plain = folders.read_config(folder)
    try:
        if read_as is not None:
            architectures.check_variant(plain)
            plain = {**plain, "model_type": read_as}
        config = architectures.config_class_of(str(plain.get("model_type"))).from_dict(plain)
        architectures.check_encoder(config)
    except Exception as error:  # transformers checks configurations in many ways
        raise WeightsError(f"{name}: {folder / folders.CONFIG_FILE}: {' '.join(str(error).split())}") from None
    return config


def _load_folder(name: str, folder: Path, read_as: str | None = None) -> nn.Module:
    """Load the encoder in a `save_pretrained` folder; every one of its tensors must be present and fit."""
    config = _folder_config(name, folder, read_as)
    return load_pretrained(
        name,
        folder,
        architectures.model_class_of(config.model_type),
        config,
        **architectures.attention_of(config.model_type),
    )
