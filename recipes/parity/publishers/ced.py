"""CED's code: the states that its classifier averages."""

from __future__ import annotations

import numpy as np
import torch

from recipes.parity.folders import published_extractor, published_model

BANDS = 4


def embed(preset: str, clips: list[np.ndarray], rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the patches (1, F, D) of each clip, averaged over the frequency bands."""
    model = published_model(str(weights), "AutoModelForAudioClassification")
    extractor = published_extractor(str(weights))
    with torch.inference_mode():
        states = [model(**extractor(clip, sampling_rate=rate)).hidden_states for clip in clips]
    return [each.unflatten(1, (BANDS, -1)).mean(1).numpy() for each in states]
