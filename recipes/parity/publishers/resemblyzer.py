"""Resemblyzer's voice encoder, without its detector of voices."""

import sys
from types import ModuleType

import numpy as np


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the embeddings (1, F, D) of each clip's windows."""
    import scipy.ndimage

    # its import of a function for the detector of voices fails with scipy 2; the function has moved
    moved = ModuleType("scipy.ndimage.morphology")
    moved.binary_dilation = scipy.ndimage.binary_dilation  # type: ignore[attr-defined]
    sys.modules["scipy.ndimage.morphology"] = moved
    from resemblyzer import VoiceEncoder, normalize_volume

    encoder = VoiceEncoder("cpu", verbose=False, weights_fpath=weights)
    raised = [normalize_volume(clip, -30, increase_only=True) for clip in clips]
    return [encoder.embed_utterance(clip, return_partials=True)[1][None] for clip in raised]
