"""Encoders of transformers by configuration and feature extractor: untrained ones, and those in model folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.backbones.loading import model_folders as folders
from features.backbones.loading.audio_parts import PARTS, SUBMODULES, AudioPart
from features.backbones.loading.digests import text_sha256
from features.backbones.loading.pretrained import load_part, load_pretrained
from features.backbones.loading.remote_code import RemoteCode, completed, find_code, named_classes, pinned, trust_of
from features.backbones.loading.weights import find_model_folder
from features.backbones.options import EncoderInterface
from features.backbones.wav2vec2_architectures import MODEL_CLASSES
from features.errors import ConfigError, WeightsError, first_line

if TYPE_CHECKING:
    from torch import nn

EXTRACTOR_TYPE = "feature_extractor_type"  # key of a `preprocessor_config.json`
# model type -> its feature extractor, if transformers' own table has none or a different one
EXTRACTORS = {
    "audioflamingo3_encoder": "WhisperFeatureExtractor",
    "pe_audio_encoder": "PeAudioFeatureExtractor",
    "wav2vec2-bert": "SeamlessM4TFeatureExtractor",
}


@dataclass(frozen=True)
class FoundEncoder:
    """An encoder whose weights are not loaded yet.

    Attributes:
        name: The backbone, for messages.
        config: Its configuration.
        extractor: Its feature extractor.
        folder: The folder of its weights; None: it is untrained.
        seed: Seed of untrained weights.
        code: The trusted code that comes with it; None: it is one of transformers' own.
        interface: How its frames are obtained, if not as from transformers' encoders.
    """

    name: str
    config: Any
    extractor: Any
    folder: Path | None = None
    seed: int = 0
    code: RemoteCode | None = None
    interface: EncoderInterface | None = None

    @property
    def alone(self) -> AudioPart | None:
        """Where the encoder is in a larger model, if it is built without the rest of that model."""
        part = PARTS.get(self.config.model_type)
        if part is None or self.interface is not None or (self.folder is None and not part.separate):
            return None
        return part if self.folder is None or folders.has_safetensors(self.folder) else None

    @property
    def part(self) -> str:
        """Name of the audio encoder's submodule; empty if the encoder is the whole of what `build` returns."""
        if self.interface is not None:
            return self.interface.part
        if self.alone is not None:
            return ""
        return SUBMODULES.get(self.config.model_type, "encoder" if self.config.is_encoder_decoder else "")

    def build(self) -> nn.Module:
        """Return the whole model, or an encoder that is built alone, with its initial weights.

        Raises:
            ConfigError: `AutoModel` does not know it.
        """
        from transformers import AutoModel

        try:
            if self.code is not None:
                return self._model_class()(self.config)
            config = self.config if self.alone is None else self.alone.config_in(self.config)
            return AutoModel.from_config(config, trust_remote_code=False)
        except ValueError as error:
            raise ConfigError(f"{self.config.model_type}: {first_line(error)}") from None

    def load(self) -> nn.Module:
        """Return what `build` returns, with its weights; every tensor of the audio encoder must be present and fit.

        Untrained weights are drawn from torch's global generator, which is seeded here.

        Raises:
            WeightsError: The weights do not fit the architecture.
        """
        import torch
        from transformers import AutoModel

        if self.folder is None:
            torch.manual_seed(self.seed)
            return self.build()
        if self.code is not None:
            return load_pretrained(self.name, self.folder, self._model_class(), self.config, self.part)
        if self.alone is not None:
            return load_part(self.name, self.folder, self.alone, self.config)
        return load_pretrained(self.name, self.folder, AutoModel, self.config, self.part, trust_remote_code=False)

    def sha256(self) -> str:
        """Return the digest of the weights, or of the recipe of untrained ones."""
        if self.folder is not None:
            return folders.folder_sha256(self.folder)
        recipe = {"random": self.seed, "config": plain(self.config), "extractor": plain(self.extractor)}
        return text_sha256(recipe)

    def settings(self) -> dict[str, Any]:
        """Return what determines the values of an embedding, apart from the weights."""
        return {
            "model_type": self.config.model_type,
            "config_sha256": text_sha256(plain(self.config)),
            "extractor": type(self.extractor).__name__,
            "extractor_sha256": text_sha256(plain(self.extractor)),
            **({} if self.code is None else {"code_sha256": self.code.sha256}),
        }

    def _model_class(self) -> Any:
        kind = "AutoModel" if self.interface is None else self.interface.auto_class
        model_class = None if self.code is None else self.code.load_class(self.name, kind)
        if model_class is None:
            raise WeightsError(f"{self.name}: {self.folder}: its auto_map names no {kind}")
        return completed(model_class)


def untrained(
    name: str, model_type: str | None, architecture: dict[str, Any], extractor: dict[str, Any], seed: int
) -> FoundEncoder:
    """Return an encoder with random weights.

    Args:
        name: The backbone, for messages.
        model_type: Its architecture.
        architecture: Configuration values that differ from the defaults.
        extractor: Values of the feature extractor that differ from the defaults.
        seed: Seed of the weights.

    Raises:
        ConfigError: There is no such architecture, or a value is invalid.
    """
    try:
        config_class = _config_class(str(model_type))
        unknown = sorted(architecture.keys() - config_class().to_dict().keys())
        if unknown:
            raise ValueError(f"architecture.{unknown[0]} is not a key of a {model_type} configuration")
        config = _checked(config_class(**architecture))
    except Exception as error:  # transformers checks configurations in many ways
        raise ConfigError(f"{name}: {' '.join(str(error).split())}") from None
    return FoundEncoder(name, config, _untrained_extractor(name, str(model_type), extractor), seed=seed)


def in_folder(
    name: str,
    weights: str,
    trust: str | None = None,
    extractor: Mapping[str, Any] | None = None,
    interface: EncoderInterface | None = None,
) -> FoundEncoder:
    """Return the encoder of a model folder, which is downloaded if necessary.

    Args:
        name: The backbone, for messages.
        weights: Folder from `save_pretrained`, or hub id.
        trust: The code that may run, see `features.backbones.loading.remote_code.find_code`.
        extractor: Values of the feature extractor; used in place of those in the folder if they name its class
            (`feature_extractor_type`).
        interface: How its frames are obtained, if not as from transformers' encoders.

    Raises:
        WeightsError: The folder cannot be found or downloaded, or its configuration cannot be used.
    """
    weights = pinned(weights, trust)
    folder = find_model_folder(name, weights, code=trust is not None)
    code = find_code(name, weights, folder, trust)
    try:
        config = _folder_config(name, folder, code, {} if interface is None else interface.config)
    except ValueError as error:
        hint = _trust_hint(name, weights, folder) if named_classes(folder) and code is None else ""
        message = " ".join(str(error).split())
        raise WeightsError(f"{name}: {folder / folders.CONFIG_FILE}: {message}{hint}") from None
    stated = dict(extractor or {})
    if EXTRACTOR_TYPE in stated:
        found = _extractor(name, str(stated.pop(EXTRACTOR_TYPE)), stated)
    else:
        found = _folder_extractor(name, folder, code)
    return FoundEncoder(name, config, found, folder, code=code, interface=interface)


def plain(config: Any) -> dict[str, Any]:
    """Return a configuration or feature extractor as JSON values, without keys that do not affect embeddings."""
    volatile = (*folders.VOLATILE_KEYS, "processor_class")
    return {key: value for key, value in json.loads(config.to_json_string()).items() if key not in volatile}


def _trust_hint(name: str, weights: str, folder: Path) -> str:
    """Return what would run the code that comes with some weights, as the end of a message."""
    try:
        trust = trust_of(name, weights, folder)
    except WeightsError as error:
        return f"; code that comes with it cannot be run: {str(error).removeprefix(f'{name}: ')}"
    return (
        f"; code that comes with it is run only if you trust it: pass --trust {trust}, or add to the entry in the "
        f"config trust: {trust}"
    )


def _untrained_extractor(name: str, model_type: str, options: dict[str, Any]) -> Any:
    """Return the feature extractor for untrained weights."""
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

    extractor = EXTRACTORS.get(model_type) or FEATURE_EXTRACTOR_MAPPING_NAMES.get(model_type)
    if extractor is None:
        raise ConfigError(f"{name}: no feature extractor is known for {model_type}; use a folder with one")
    return _extractor(name, extractor, options)


def _extractor(name: str, kind: str, options: dict[str, Any]) -> Any:
    """Return a feature extractor of transformers by the name of its class."""
    import transformers

    try:
        if not kind.endswith("FeatureExtractor") or not hasattr(transformers, kind):
            raise ValueError(f"{EXTRACTOR_TYPE}: transformers has no {kind!r}")
        return getattr(transformers, kind)(**options)
    except Exception as error:
        raise ConfigError(f"{name}: extractor: {first_line(error)}") from None


def _folder_config(name: str, folder: Path, code: RemoteCode | None, changed: Mapping[str, Any]) -> Any:
    """Return the configuration in a folder's `config.json`, with some values changed.

    Raises:
        ValueError: It cannot be used; transformers checks configurations in many ways.
    """
    values = {**folders.read_config(folder), **changed}
    config_class = None if code is None else code.load_class(name, "AutoConfig")
    try:
        return _checked((config_class or _config_class(str(values.get("model_type")))).from_dict(values))
    except Exception as error:
        raise ValueError(str(error)) from error


def _folder_extractor(name: str, folder: Path, code: RemoteCode | None) -> Any:
    """Return the feature extractor in a folder."""
    from transformers import AutoFeatureExtractor

    if not any((folder / file).is_file() for file in folders.PREPROCESSOR_FILES):
        raise WeightsError(
            f"{name}: {folder} has no {folders.PREPROCESSOR_FILES[0]}; save the model's feature extractor there as well"
        )
    own = None if code is None else code.load_class(name, "AutoFeatureExtractor")
    try:
        if own is not None:
            extractor = own.from_pretrained(folder, local_files_only=True)
        else:
            extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise WeightsError(f"{name}: {folder}: its feature extractor cannot be loaded ({first_line(error)})") from None
    if not isinstance(getattr(extractor, "sampling_rate", None), int):
        raise WeightsError(f"{name}: {folder}: its {type(extractor).__name__} is not one for audio")
    return extractor


def _config_class(model_type: str) -> Any:
    """Return the transformers configuration class of an architecture.

    Raises:
        ValueError: The architecture belongs to the family wav2vec2, or transformers does not have it.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type in MODEL_CLASSES:
        raise ValueError(f"{model_type} belongs to the family wav2vec2, where padded batches are exact: name: wav2vec2")
    if model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"transformers has no model type {model_type!r}; a variant of HuBERT or Wav2Vec2, such as MERT, may "
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
