"""Mix the channels of decoded audio to mono."""

from __future__ import annotations

import numpy as np

from features.errors import AudioError

MOST_ADDED = 7  # channels whose mean numpy sums in order; it sums more of them in pairs


def mono(samples: np.ndarray) -> np.ndarray:
    """Average the channels of float32 samples (frames, channels) to (frames,).

    The result has the bits of numpy's mean. Adding column by column is several times faster for few channels.

    Raises:
        AudioError: A mean is NaN or infinite.
    """
    channels = samples.shape[1]
    if channels == 1:
        mixed = samples[:, 0]
    elif channels <= MOST_ADDED:
        mixed = samples[:, 0] + np.float32(0)  # numpy starts at zero, too: -0.0 becomes 0.0
        for channel in range(1, channels):
            mixed += samples[:, channel]
        mixed /= channels
    else:
        mixed = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mixed).all():
        raise AudioError(f"{int((~np.isfinite(mixed)).sum())} samples are NaN or infinite")
    return np.ascontiguousarray(mixed)
