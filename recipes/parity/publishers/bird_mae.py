"""Bird-MAE's code: its embedding of 5 s."""

from __future__ import annotations

import numpy as np
import torch

from recipes.parity.folders import published_extractor, published_model


def embed(preset: str, clips: list[np.ndarray], rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the vector (1, 1, D) of each clip."""
    model, extractor = published_model(str(weights)), published_extractor(str(weights))
    with torch.inference_mode():
        return [model(extractor(clip, return_tensors="pt")).last_hidden_state[None].numpy() for clip in clips]
