"""OpenL3 by the package torchopenl3, its spectrogram in float64.

In float32, rounding errors of the package's Fourier transform are above the quietest values that it keeps, 1e-8 of the
loudest. For clips with little noise, such as the golden ones, they change an embedding by up to 2e-3.
"""

from pathlib import Path
from typing import Any

import numpy as np


def save(preset: str, state: dict[str, Any], folder: Path) -> Path:
    """Write tensors as the published file has them, with the kernels of the publisher's Fourier transform."""
    import torch

    path = folder / "torchopenl3_mel256_env_512.pth.tar"
    torch.save({**network().state_dict(), **state}, path)
    return path


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the embeddings (1, F, D) of each clip's windows."""
    import torch
    from torchopenl3.core import get_audio_embedding

    model = network()
    model.load_state_dict(torch.load(str(weights), map_location="cpu", weights_only=True))
    model.speclayer.double()
    model.speclayer.register_forward_pre_hook(lambda module, given: given[0].double())
    model.speclayer.register_forward_hook(lambda module, given, output: output.float())
    return [get_audio_embedding(clip, sample_rate, model=model)[0].numpy() for clip in clips]


def network() -> Any:
    """Return the publisher's network for 512 dimensions."""
    from torchopenl3.models import PytorchOpenl3

    return PytorchOpenl3("env", "mel256", 512).eval()
