"""VGGish by torchvggish: its front end in numpy and its network."""

from pathlib import Path
from typing import Any

import numpy as np

PATCH_SAMPLES = 15_600  # 0.975 s


def save(preset: str, state: dict[str, Any], folder: Path) -> Path:
    """Write tensors as the published file has them."""
    import torch

    path = folder / "vggish.pth"
    torch.save(state, path)
    return path


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the embeddings (1, F, D) of each clip's patches; a clip that is too short is filled with zeros to one."""
    import torch
    from torchvggish.torchvggish import VGG, make_layers
    from torchvggish.vggish_input import waveform_to_examples

    network = VGG(make_layers(), postprocess=False)
    network.load_state_dict(torch.load(str(weights), weights_only=True))
    network.eval()
    embedded = []
    for clip in clips:
        patches = waveform_to_examples(np.pad(clip, (0, max(0, PATCH_SAMPLES - len(clip)))), sample_rate)
        with torch.inference_mode():
            embedded.append(network(patches.float())[None].numpy())
    return embedded
