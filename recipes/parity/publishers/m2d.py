"""M2D by the publisher's file `portable_m2d.py`."""

from pathlib import Path
from typing import Any

import numpy as np

RELEASE = "m2d_vit_base-80x608p16x16-220930-mr7"
NAMES = {
    "self_attn.in_proj_": "attn.qkv.",
    "self_attn.out_proj.": "attn.proj.",
    "linear1.": "mlp.fc1.",
    "linear2.": "mlp.fc2.",
}


def save(preset: str, state: dict[str, Any], folder: Path) -> Path:
    """Write tensors as a release has them, in the folder whose name the publisher's code reads."""
    import torch

    for new, old in NAMES.items():
        state = {name.replace(new, old): tensor for name, tensor in state.items()}
    path = folder / RELEASE / "checkpoint-300.pth"
    path.parent.mkdir()
    torch.save({"model": state, "epoch": 300}, path)
    return path


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the frames (1, F, 3840) of each clip."""
    import torch
    from portable_m2d import PortableM2D

    model = PortableM2D(weights)
    with torch.inference_mode():
        return [model.encode(torch.from_numpy(clip)[None]).numpy() for clip in clips]
