"""BEATs by the publisher's code, as the package avex contains it."""

from pathlib import Path
from typing import Any

import numpy as np

WEIGHT_NORM = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
POSITIONS = "encoder.layers.{}.self_attn.relative_attention_bias.weight"
CONFIG = {  # of BEATs_iter3_plus_AS2M.pt, from avex 1.4.0: beats_iter3_plus_as2m_ssl.yml
    "activation_dropout": 0.0,
    "activation_fn": "gelu",
    "attention_dropout": 0.1,
    "conv_bias": False,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "deep_norm": True,
    "dropout": 0.1,
    "dropout_input": 0.1,
    "embed_dim": 512,
    "encoder_attention_heads": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_layerdrop": 0.05,
    "encoder_layers": 12,
    "finetuned_model": False,
    "gru_rel_pos": True,
    "input_patch_size": 16,
    "layer_norm_first": False,
    "layer_wise_gradient_decay_ratio": 1.0,
    "max_distance": 800,
    "num_buckets": 320,
    "relative_position_embedding": True,
}


def save(preset: str, state: dict[str, Any], folder: Path, config: dict[str, Any] = CONFIG) -> Path:
    """Write tensors as the published checkpoint has them: its settings, names of torch 1, a table for each layer."""
    import torch

    for new, old in WEIGHT_NORM.items():
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    copies = {POSITIONS.format(at): state[POSITIONS.format(0)] for at in range(config["encoder_layers"])}
    path = folder / f"{preset}.pt"
    torch.save({"cfg": config, "model": {**state, **copies}}, path)
    return path


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the input of the transformer and the output of its layers, (L, F, D) of each clip alone."""
    import torch
    from avex.models.beats.beats import BEATs, BEATsConfig

    checkpoint = torch.load(str(weights), map_location="cpu", weights_only=True)
    model = BEATs(BEATsConfig(**checkpoint["cfg"])).eval()
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("fbank.")}
    model.load_state_dict({**own, **checkpoint["model"]})
    layers = model.encoder.layers
    outputs: list[torch.Tensor] = []
    layers[0].register_forward_pre_hook(lambda module, given: outputs.append(given[0]))
    for layer in layers:
        layer.register_forward_hook(lambda module, given, output: outputs.append(output[0]))
    embedded = []
    with torch.inference_mode():
        for clip in clips:
            outputs.clear()
            final = model.extract_features(torch.from_numpy(clip)[None])
            states = torch.stack(outputs).reshape(len(outputs), -1, checkpoint["cfg"]["encoder_embed_dim"])
            np.testing.assert_array_equal(states[-1], final[0].reshape(states[-1].shape))
            embedded.append(states.numpy())
    return embedded
