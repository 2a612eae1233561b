"""Clips cut into windows of one size, for models that take no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def window_starts(length: int, size: int, hop: int) -> list[int]:
    """Starts of the windows over `length` samples: every full one, and one more if samples are left over."""
    starts = list(range(0, max(length - size, 0) + 1, hop))
    if starts[-1] + size < length:
        starts.append(starts[-1] + hop)
    return starts


def cut_windows(
    waveforms: np.ndarray, lengths: Sequence[int], size: int, hop: int
) -> tuple[np.ndarray, list[list[float]]]:
    """All windows of a batch, one clip after the other, the last of a clip zero-padded where it is not full.

    Args:
        waveforms: (B, T), padded.
        lengths: Valid samples of each clip.
        size: Samples of a window.
        hop: Samples from one window to the next.

    Returns:
        Windows (W, size) float32, and for each clip the share of real samples in each of its windows.
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
