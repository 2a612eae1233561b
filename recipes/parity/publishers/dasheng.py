"""Dasheng's own package."""

from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"dasheng-base": "dasheng_base", "dasheng-0.6b": "dasheng_06B", "dasheng-1.2b": "dasheng_12B"}


def save(preset: str, state: dict[str, Any], folder: Path) -> Path:
    """Write tensors as the published file has them: with the fixed filters of the front end."""
    import torch
    from dasheng.pretrained.pretrained import Dasheng

    front_end = {key: value for key, value in Dasheng(depth=0).state_dict().items() if key.startswith("front_end.")}
    path = folder / f"{preset}.pt"
    torch.save({"model": {**state, **front_end}, "config": {}}, path)
    return path


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the hidden states (L, F, D) of each clip, which may not be longer than 10.08 s."""
    import dasheng
    import torch

    model = getattr(dasheng, SIZES[preset])(weights).eval()
    inputs: list[torch.Tensor] = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    embedded = []
    for clip in clips:
        inputs.clear()
        with torch.inference_mode():
            output = model(torch.from_numpy(clip)[None])
        embedded.append(torch.cat([*inputs, output]).numpy())
    return embedded
