"""AVES by its package, which runs torchaudio's HuBERT."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

CONFIG = {  # default_cfg_aves-base-all.json of github.com/earthspecies/aves
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": [[512, 10, 5], *[[512, 3, 2]] * 4, *[[512, 2, 2]] * 2],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 768,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 128,
    "encoder_pos_conv_groups": 16,
    "encoder_num_layers": 12,
    "encoder_num_heads": 12,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 3072,
    "encoder_ff_interm_dropout": 0,
    "encoder_dropout": 0.1,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.05,
}
NAMES = {  # beginnings of names in the network of transformers -> in the published file
    "feature_projection.": "encoder.feature_projection.",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original0": "encoder.transformer.pos_conv_embed.conv.weight_g",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original1": "encoder.transformer.pos_conv_embed.conv.weight_v",
    "encoder.": "encoder.transformer.",
}


def save(preset: str, state: dict[str, Any], folder: Path) -> Path:
    """Write tensors as the published file has them."""
    import torch

    path = folder / f"{preset}.torchaudio.pt"
    torch.save({published(name): tensor for name, tensor in state.items()}, path)
    return path


def published(name: str) -> str:
    """Return the name of a tensor in the published file."""
    old = next((old for old in NAMES if name.startswith(old)), "")
    return NAMES.get(old, "") + name.removeprefix(old)


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the input of the transformer and the output of its layers, (L, F, D) of each clip alone."""
    import torch
    from aves import load_feature_extractor

    with TemporaryDirectory() as folder:
        config = Path(folder) / "model_config.json"
        config.write_text(json.dumps(CONFIG), encoding="utf-8")
        model = load_feature_extractor(config, weights, device="cpu")
    inputs: list[torch.Tensor] = []
    first = model.model.encoder.transformer.layers[0]
    first.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    embedded = []
    for clip in clips:
        outputs = model.extract_features(torch.from_numpy(clip), layers=None)
        embedded.append(torch.cat([inputs.pop(), *outputs]).numpy())
    return embedded
