"""Windows of long clips: how clips are cut, and which frames of overlapping windows are kept.

Windows start on the grid of frames. In the overlap of two windows, the first half of the frames comes from the earlier
window and the second half from the later one. This keeps the frames with the most context on both sides, counts no
frame twice, and gives a clip as many frames as a single pass would. (Hugging Face's speech recognition pipeline treats
long recordings in the same way, with strides.) Without overlap, windows are concatenated.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from typing import TypeVar

import torch

from features.errors import ConfigError
from features.pooling import Frames
from features.spec import BackboneSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Windows:
    """How long clips are cut for a backbone.

    Attributes:
        samples: Length of a window in samples.
        hop_samples: Samples from the start of one window to the start of the next.
        hop_frames: The same in frames; 0 if windows do not overlap and all frames are kept.
        middle_frames: Frame of a window up to which the earlier window's frames are kept.
    """

    samples: int
    hop_samples: int
    hop_frames: int
    middle_frames: int

    @classmethod
    def of(cls, spec: BackboneSpec, overlap_s: float) -> Windows:
        """Return windows that overlap by at least `overlap_s` seconds and start on the grid of frames.

        Raises:
            ConfigError: The overlap is more than half a window.
        """
        if overlap_s == 0:
            return cls(spec.max_samples, spec.max_samples, 0, 0)
        frame = spec.sample_rate / spec.frame_rate  # samples
        hop = int((spec.max_samples - overlap_s * spec.sample_rate) / frame)
        if overlap_s < 0 or 2 * overlap_s > spec.max_duration_s or hop < 1:
            raise ConfigError(
                f"features.window_overlap_s: {overlap_s:g} s should be at most half of a window; {spec.title} uses "
                f"windows of {spec.max_duration_s:g} s"
            )
        return cls(spec.max_samples, round(hop * frame), hop, (int(spec.max_samples / frame) - hop) // 2)

    def keep(self, frames: Frames, *, first: bool, last: bool) -> Frames | None:
        """Return the frames of one window to keep, (1, L, F, D); None if there are none.

        Args:
            frames: Frames of one window.
            first: Whether it is the clip's first window.
            last: Whether it is the clip's last window.
        """
        if not self.hop_frames:
            return frames
        count = int(frames.lengths[0])
        start = 0 if first else self.middle_frames
        stop = count if last else min(count, self.hop_frames + self.middle_frames)
        if start >= stop:
            return None
        weights = None if frames.weights is None else frames.weights[:, start:stop]
        return Frames(frames.values[:, :, start:stop], torch.tensor([stop - start]), weights)


def read_ahead(windows: Generator[T, None, None], pool: Executor) -> Generator[tuple[T, bool], None, None]:
    """Yield (window, whether it is the last one); the next window is decoded in `pool` meanwhile."""
    future = pool.submit(next, windows, None)
    try:
        window = future.result()
        upcoming = None if window is None else pool.submit(next, windows, None).result()
        while window is not None:
            future = pool.submit(next, windows, None)
            yield window, upcoming is None
            window, upcoming = upcoming, future.result()
    finally:
        wait([future])
        windows.close()
