"""MuQ's own package, with the conformer of the transformers of its time."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

CONFORMER = {  # facebook/wav2vec2-conformer-rope-large-960h-ft, as in MuQ's recipe of the pretraining
    "activation_dropout": 0.1,
    "attention_dropout": 0.1,
    "conformer_conv_dropout": 0.1,
    "conv_depthwise_kernel_size": 31,
    "feat_extract_activation": "gelu",
    "hidden_act": "swish",
    "hidden_dropout": 0.1,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "layer_norm_eps": 1e-5,
    "layerdrop": 0.0,
    "num_attention_heads": 16,
    "num_conv_pos_embedding_groups": 16,
    "num_conv_pos_embeddings": 128,
    "position_embeddings_type": "rotary",
    "rotary_embedding_base": 10000,
}
STATISTICS = {"melspec_2048_mean": 6.768444971712967, "melspec_2048_std": 18.417922652295623}


def save(preset: str, state: dict[str, Any], folder: Path) -> Path:
    """Write tensors as the published files have them: with those of the pretraining, and a configuration."""
    from muq.muq.muq import MuQ, MuQConfig
    from safetensors.torch import save_file

    config = MuQConfig(stat=STATISTICS, w2v2_config=CONFORMER, use_rvq_target=True)
    without_layers = MuQ(replace(config, encoder_depth=0)).state_dict()
    path = folder / "model.safetensors"
    save_file(without_layers | {f"model.{name}": tensor for name, tensor in state.items()}, path)
    (folder / "config.json").write_text(json.dumps(asdict(config)), encoding="utf-8")
    return path


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the hidden states (L, F, D) of each clip."""
    import torch
    from muq.muq.muq import MuQ

    model = MuQ.from_pretrained(str(Path(str(weights)).parent), strict=True).eval()
    with torch.inference_mode():
        return [torch.cat(model(torch.from_numpy(clip)[None]).hidden_states).numpy() for clip in clips]
