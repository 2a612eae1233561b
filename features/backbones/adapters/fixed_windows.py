"""Cut clips into windows of one size, for models with a fixed input size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def window_starts(length: int, size: int, hop: int) -> list[int]:
    """Return the starts of the windows over `length` samples: all full windows, and one more for any remainder."""
    starts = list(range(0, max(length - size, 0) + 1, hop))
    if starts[-1] + size < length:
        starts.append(starts[-1] + hop)
    return starts


def cut_windows(
    waveforms: np.ndarray, lengths: Sequence[int], size: int, hop: int
) -> tuple[np.ndarray, list[list[float]]]:
    """Cut all clips of a batch into windows; an incomplete last window is zero-padded.

    Args:
        waveforms: (B, T), padded.
        lengths: Valid samples of each clip.
        size: Samples of a window.
        hop: Samples from one window to the next.

    Returns:
        Windows (W, size) float32 in the order of the clips, and for each clip the fraction of real samples in each of
        its windows.
    """
    import numpy as np

    windows, shares = [], []
    for waveform, length in zip(waveforms, lengths, strict=True):
        starts = window_starts(length, size, hop)
        for start in starts:
            valid = waveform[start : min(start + size, length)]
            windows.append(np.pad(valid, (0, size - len(valid))))
        shares.append([min(size, length - start) / size for start in starts])
    return np.stack(windows), shares
