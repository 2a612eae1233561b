"""Dasheng's own package, on a published file or on the random weights of this project in the same format."""

import tempfile
from pathlib import Path

import numpy as np

SIZES = {"dasheng-base": "dasheng_base", "dasheng-0.6b": "dasheng_06B", "dasheng-1.2b": "dasheng_12B"}


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the hidden states (L, F, D) of each clip, which may not be longer than 10.08 s."""
    import dasheng
    import torch

    open_file = getattr(dasheng, SIZES[preset])
    if weights == "random":
        with tempfile.TemporaryDirectory() as folder:
            model = open_file(_random_file(preset, Path(folder)))
    else:
        model = open_file(weights)
    model.eval()
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


def _random_file(preset: str, folder: Path) -> str:
    """Write the seeded random weights of a preset as a file in the publisher's format, and return its path."""
    import torch
    from dasheng.pretrained.pretrained import Dasheng

    from features.backbones import load

    front_end = {key: value for key, value in Dasheng(depth=0).state_dict().items() if key.startswith("front_end.")}
    state = load({"name": preset, "weights": "random"}).module.state_dict()
    path = folder / "dasheng.pt"
    torch.save({"model": {**state, **front_end}, "config": {}}, path)
    return str(path)
