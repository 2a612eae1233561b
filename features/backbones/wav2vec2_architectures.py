"""Architectures of the Wav2Vec2 family: transformers classes, sizes of untrained encoders, and configuration checks."""

from __future__ import annotations

import json
from typing import Any

from features.backbones.loading import model_folders as folders

MODEL_CLASSES = {
    "wav2vec2": "Wav2Vec2Model",
    "hubert": "HubertModel",
    "wavlm": "WavLMModel",
    "data2vec-audio": "Data2VecAudioModel",
    "unispeech": "UniSpeechModel",
    "unispeech-sat": "UniSpeechSatModel",
}
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "conv_dim": (64,) * 7,
        "num_conv_pos_embedding_groups": 4,
    },
    "nano": {
        "hidden_size": 192,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "intermediate_size": 768,
        # narrow first layers, which have the most frames, as in SEW (Wu et al. 2022): half the cost of 128 throughout
        "conv_dim": (32, 64, 96, 128, 128, 128, 128),
        "num_conv_pos_embeddings": 64,
        "num_conv_pos_embedding_groups": 8,
        "do_stable_layer_norm": True,
    },
    "base": {},
    "large": _LARGE,
    "large-stable": {**_LARGE, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
}


def config_class_of(model_type: str) -> Any:
    """Return the transformers configuration class of an architecture.

    Raises:
        ValueError: Not one of `MODEL_CLASSES`.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if model_type not in MODEL_CLASSES:
        known = ", ".join(MODEL_CLASSES)
        raise ValueError(
            f"model type {model_type!r} is not a Wav2Vec2-like encoder: known are {known}; others: name: transformers"
        )
    return CONFIG_MAPPING[model_type]


def check_variant(plain: dict[str, Any]) -> None:
    """Raise `ValueError` for options of MERT's configurations that no architecture here supports.

    `attention_relax` is none of them: it divides attention scores by a number, subtracts their maximum and multiplies
    by the same number, against overflow in half precision. The softmax of these scores is that of the original ones.
    """
    for key in ("feature_extractor_cqt", "deepnorm"):
        value = plain.get(key)
        if value is True:
            raise ValueError(f"{key} is {value!r}, which needs the model's own code; this code is not run")


def check_encoder(config: Any) -> None:
    """Raise `ValueError` for options that encoders here do not support."""
    if getattr(config, "add_adapter", False):
        raise ValueError("it has a convolutional adapter on top (add_adapter), which is not supported")
    if len(config.conv_kernel) != len(config.conv_stride):
        raise ValueError(f"{len(config.conv_kernel)} conv_kernel, but {len(config.conv_stride)} conv_stride")


def plain(config: Any) -> dict[str, Any]:
    """Return a config as JSON values, without keys that do not affect embeddings."""
    return {k: v for k, v in json.loads(config.to_json_string()).items() if k not in folders.VOLATILE_KEYS}


def model_class_of(model_type: str) -> Any:
    """Return the transformers model class of an architecture."""
    import transformers

    return getattr(transformers, MODEL_CLASSES[model_type])


def attention_of(model_type: str) -> dict[str, str]:
    """Return the attention implementation that the masks of `networks/wav2vec2.py` fit; WavLM has only one."""
    return {} if model_type == "wavlm" else {"attn_implementation": "sdpa"}
