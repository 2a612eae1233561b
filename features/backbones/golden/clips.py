"""The three clips of golden vectors; they need numpy only and are the same on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

DURATIONS_S = (0.7, 1.3, 2.9)
MULTIPLIER, MODULUS = 48_271, 2**31 - 1  # the linear congruential generator of Park and Miller


def golden_clips(sample_rate: int) -> list[np.ndarray]:
    """Return a chirp, bursts of noise, and a vibrating tone with noise: (T,) float32 each, of 0.7, 1.3 and 2.9 s.

    Args:
        sample_rate: Hz.
    """
    import numpy as np

    times = [np.arange(round(seconds * sample_rate)) / sample_rate for seconds in DURATIONS_S]
    chirp = 0.4 * np.sin(2 * np.pi * (200 * times[0] + 1_200 * times[0] ** 2))
    bursts = 0.3 * noise(len(times[1])) * (np.sin(2 * np.pi * 4 * times[1]) > 0)
    tone = np.sin(2 * np.pi * 180 * times[2] + 3 * np.sin(2 * np.pi * 5 * times[2]))
    mixed = 0.2 * tone + 0.1 * np.sin(2 * np.pi * 3_100 * times[2]) + 0.02 * noise(len(times[2]))
    return [clip.astype(np.float32) for clip in (chirp, bursts, mixed)]


def noise(n: int) -> np.ndarray:
    """Return n uniform values in [-1, 1), the same with every version of numpy."""
    import numpy as np

    values, state = np.empty(n), 1
    for at in range(n):
        state = state * MULTIPLIER % MODULUS
        values[at] = state / MODULUS * 2 - 1
    return values
