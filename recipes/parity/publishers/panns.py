"""CNN14 by the package panns-inference."""

from pathlib import Path
from typing import Any

import numpy as np

RATE = 32_000


def save(preset: str, state: dict[str, Any], folder: Path) -> Path:
    """Write tensors as the published checkpoint has them, with those that only the publisher's network has."""
    import torch

    path = folder / "Cnn14_mAP=0.431.pth"
    own = {name: tensor for name, tensor in network().state_dict().items() if name not in state}
    torch.save({"iteration": 0, "model": {**own, **state}}, path)
    return path


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the embedding (1, 1, D) of each clip."""
    import torch

    model = network()
    model.load_state_dict(torch.load(str(weights), map_location="cpu", weights_only=True)["model"])
    with torch.inference_mode():
        return [model(torch.from_numpy(clip)[None])["embedding"][None].numpy() for clip in clips]


def network() -> Any:
    """Return the publisher's network with the settings of its `inference.py`."""
    from panns_inference.models import Cnn14

    return Cnn14(
        sample_rate=RATE, window_size=1024, hop_size=320, mel_bins=64, fmin=50, fmax=14_000, classes_num=527
    ).eval()
