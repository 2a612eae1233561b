"""Audio encoders of transformers outside the Wav2Vec2 family: AST, CLAP, Whisper, Wav2Vec2-BERT and others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from features.backbones.base import Bundle, check_precision
from features.backbones.family import Family
from features.backbones.loading import model_folders as folders
from features.backbones.loading import weights as found
from features.backbones.loading.digests import text_sha256
from features.backbones.loading.pretrained import load_pretrained, quiet_transformers
from features.backbones.options import BackboneOptions
from features.backbones.presets.codecs import PRESETS as CODECS
from features.backbones.presets.transformers import PRESETS as ENCODERS
from features.backbones.wav2vec2_architectures import MODEL_CLASSES
from features.errors import ConfigError, WeightsError, first_line
from features.spec import BackboneSpec

if TYPE_CHECKING:
    from torch import nn

    from features.backbones.networks.transformers import TransformersBackbone

# model type -> its feature extractor, if transformers' own table has none or a different one
EXTRACTORS = {"wav2vec2-bert": "SeamlessM4TFeatureExtractor"}
# model type -> the submodule that encodes audio; others: the whole model, or the encoder of an encoder-decoder
AUDIO_PARTS = {
    "clap": "audio_model",
    "dac": "encoder",
    "encodec": "encoder",
    "mimi": "encoder",
    "pe_audio": "audio_encoder",
}
DEFAULT_RATE = 16_000

FAMILY = Family(presets={**ENCODERS, **CODECS}, weights_from="hub", libraries=("transformers",))


class Options(BackboneOptions):
    """An entry of `features.backbones` for an audio encoder of transformers."""

    weights: str = Field(description="hub id `org/name[@revision]`, folder from `save_pretrained`, or `random`")
    embedding: Literal["frames", "pooled"] = Field(
        "frames", description="frames to pool, or (AST) each layer's class tokens; CLAP has only one vector per window"
    )
    model_type: str | None = Field(None, description="for `random`: which architecture, such as `whisper`")
    architecture: dict[str, Any] = Field({}, description="for `random`: configuration values that differ from defaults")
    extractor: dict[str, Any] = Field(
        {}, description="for `random`: values of the feature extractor that differ from defaults"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="for `random`: seed of the weights")


def summary(options: Any) -> dict[str, Any]:
    """Return the columns of `audioheads backbones ls`."""
    model_type = getattr(options, "model_type", None)
    return {
        "weights": getattr(options, "weights", "hub id, folder or random"),
        "sample_rate_hz": (getattr(options, "extractor", None) or {}).get("sampling_rate", DEFAULT_RATE)
        if model_type
        else None,
        "summary": f"{model_type} encoder" if model_type else "AST, CLAP, Whisper, Wav2Vec2-BERT and other encoders",
    }


def describe(options: Options) -> BackboneSpec:
    """Return the spec. Weights are found and hashed, but not loaded; shapes come from the architecture alone.

    Raises:
        ConfigError: The architecture is unknown, or belongs to another family.
        WeightsError: The weights cannot be found or downloaded.
    """
    import torch

    from features.backbones.networks.transformers import shape_of

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        config, extractor, digest = _found(options)
        shape = shape_of(options.title, lambda: _whole(config), _part(config), extractor, options.embedding)
    rate = int(extractor.sampling_rate)
    longest = options.max_duration_s if shape.max_samples is None else shape.max_samples / rate
    return BackboneSpec(
        name=options.name,
        family="transformers",
        weights=options.weights,
        weights_sha256=digest,
        sample_rate=rate,
        layers=tuple(range(shape.n_layers)),
        dim=shape.dim,
        frame_rate=shape.frame_rate,
        min_duration_s=shape.min_samples / rate,
        max_duration_s=min(options.max_duration_s, longest),
        settings={
            "model_type": config.model_type,
            "config_sha256": text_sha256(_plain(config)),
            "extractor": type(extractor).__name__,
            "extractor_sha256": text_sha256(_plain(extractor)),
            "embedding": options.embedding,
        },
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> TransformersBackbone:
    """Build the network and load its weights.

    Raises:
        WeightsError: The weights do not fit the architecture.
    """
    import torch

    from features.backbones.networks.transformers import TransformersBackbone, audio_encoder

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        config, extractor, _ = _found(options, hashed=False)
        whole = _load_whole(options, config)
    module = audio_encoder(whole, _part(config)).eval()
    return TransformersBackbone(module, extractor, spec, torch.device(device), check_precision(precision))


def bundle(options: Options, spec: BackboneSpec, folder: Path) -> Bundle:
    """Save the whole model and its feature extractor with `save_pretrained`."""
    import torch

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        config, extractor, _ = _found(options, hashed=False)
        whole: Any = _load_whole(options, config)
        whole.save_pretrained(folder)
        extractor.save_pretrained(folder)
    return Bundle({"weights": "."})


def _load_whole(options: Options, config: Any) -> nn.Module:
    """Return the whole model with its weights; random weights are drawn from torch's global generator."""
    import torch

    if options.weights == found.RANDOM:
        torch.manual_seed(options.seed)
        return _whole(config)
    return _load_folder(options.title, found.find_model_folder(options.title, options.weights), config)


def _found(options: Options, *, hashed: bool = True) -> tuple[Any, Any, str]:
    """Return the configuration, the feature extractor, and the digest of the weights."""
    if options.weights == found.RANDOM:
        config, extractor = _random_config(options), _random_extractor(options)
        recipe = {"random": options.seed, "config": _plain(config), "extractor": _plain(extractor)}
        return config, extractor, text_sha256(recipe)
    folder = found.find_model_folder(options.title, options.weights)
    config, extractor = _folder_config(options.title, folder), _folder_extractor(options.title, folder)
    return config, extractor, folders.folder_sha256(folder) if hashed else ""


def _random_config(options: Options) -> Any:
    """Return the configuration for untrained weights."""
    try:
        config_class = _config_class(str(options.model_type))
        unknown = sorted(options.architecture.keys() - config_class().to_dict().keys())
        if unknown:
            raise ValueError(f"architecture.{unknown[0]} is not a key of a {options.model_type} configuration")
        return _checked(config_class(**options.architecture))
    except Exception as error:  # transformers checks configurations in many ways
        raise ConfigError(f"{options.title}: {' '.join(str(error).split())}") from None


def _random_extractor(options: Options) -> Any:
    """Return the feature extractor for untrained weights."""
    import transformers
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

    model_type = str(options.model_type)
    name = EXTRACTORS.get(model_type) or FEATURE_EXTRACTOR_MAPPING_NAMES.get(model_type)
    if name is None:
        raise ConfigError(f"{options.title}: no feature extractor is known for {model_type}; use a folder with one")
    try:
        return getattr(transformers, name)(**options.extractor)
    except Exception as error:
        raise ConfigError(f"{options.title}: extractor: {first_line(error)}") from None


def _folder_config(name: str, folder: Path) -> Any:
    """Return the configuration in a folder's `config.json`."""
    plain = folders.read_config(folder)
    try:
        config_class = _config_class(str(plain.get("model_type")), remote="auto_map" in plain)
        return _checked(config_class.from_dict(plain))
    except Exception as error:
        raise WeightsError(f"{name}: {folder / folders.CONFIG_FILE}: {' '.join(str(error).split())}") from None


def _folder_extractor(name: str, folder: Path) -> Any:
    """Return the feature extractor in a folder."""
    from transformers import AutoFeatureExtractor

    if not any((folder / file).is_file() for file in folders.PREPROCESSOR_FILES):
        raise WeightsError(
            f"{name}: {folder} has no {folders.PREPROCESSOR_FILES[0]}; save the model's feature extractor there as well"
        )
    try:
        extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise WeightsError(f"{name}: {folder}: its feature extractor cannot be loaded ({first_line(error)})") from None
    if not isinstance(getattr(extractor, "sampling_rate", None), int):
        raise WeightsError(f"{name}: {folder}: its {type(extractor).__name__} is not one for audio")
    return extractor


def _config_class(model_type: str, *, remote: bool = False) -> Any:
    """Return the transformers configuration class of an architecture.

    Raises:
        ValueError: The architecture belongs to the family wav2vec2, or transformers does not have it.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type in MODEL_CLASSES:
        raise ValueError(f"{model_type} belongs to the family wav2vec2, where padded batches are exact: name: wav2vec2")
    if model_type not in CONFIG_MAPPING:
        code = ", and the code that comes with it is not run (trust_remote_code)" if remote else ""
        raise ValueError(
            f"transformers has no model type {model_type!r}{code}; a variant of HuBERT or Wav2Vec2, such as MERT, may "
            "load with name: wav2vec2 and read_as: hubert"
        )
    return CONFIG_MAPPING[model_type]


def _checked(config: Any) -> Any:
    """Return a configuration that can be used here.

    Raises:
        ValueError: It is that of a codec that is not supported.
    """
    from features.backbones.networks.codecs import check_codec

    check_codec(config)
    return config


def _part(config: Any) -> str:
    """Return the name of the audio encoder's submodule; empty for the whole model."""
    return AUDIO_PARTS.get(config.model_type, "encoder" if config.is_encoder_decoder else "")


def _whole(config: Any) -> nn.Module:
    """Return the whole model with its initial weights."""
    from transformers import AutoModel

    try:
        return AutoModel.from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise ConfigError(f"{config.model_type}: {first_line(error)}") from None


def _load_folder(name: str, folder: Path, config: Any) -> nn.Module:
    """Load the model in a `save_pretrained` folder; every tensor of its audio encoder must be present and fit."""
    from transformers import AutoModel

    return load_pretrained(name, folder, AutoModel, config, _part(config), trust_remote_code=False)


def _plain(config: Any) -> dict[str, Any]:
    """Return a configuration or feature extractor as JSON values, without keys that do not affect embeddings."""
    volatile = (*folders.VOLATILE_KEYS, "processor_class")
    return {key: value for key, value in json.loads(config.to_json_string()).items() if key not in volatile}
