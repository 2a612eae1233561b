"""Synthetic clips for checks of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def make_clips(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    """Return clips (T,) float32 of these numbers of samples, which differ in level, offset and spectrum."""
    import numpy as np

    rng = np.random.default_rng(seed)
    clips = []
    for number, length in enumerate(lengths):
        tone = np.sin(np.arange(length) * rng.uniform(0.01, 0.5))
        clip = rng.uniform(0.02, 0.6) * (0.3 * rng.standard_normal(length) + tone) + 0.05 * (number % 3 - 1)
        clips.append(clip.astype(np.float32))
    return clips


def usual_lengths(sample_rate: int) -> tuple[int, ...]:
    """Return numbers of samples from one to three seconds, none a multiple of the others."""
    return (1, 400, sample_rate // 3, sample_rate - 1, sample_rate, 2 * sample_rate + 77, 3 * sample_rate)
