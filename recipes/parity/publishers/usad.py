"""USAD's code: all hidden states."""

from __future__ import annotations

import numpy as np
import torch

from recipes.parity.folders import published_model


def embed(preset: str, clips: list[np.ndarray], rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the hidden states (L, F, D) of each clip."""
    model = published_model(str(weights))
    with torch.inference_mode():
        return [torch.cat(model(torch.from_numpy(clip)[None])["hidden_states"]).numpy() for clip in clips]
