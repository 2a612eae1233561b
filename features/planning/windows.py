"""Clips longer than a window: how they are cut, and which frames of windows that overlap stay.

Windows stand on the grid of frames. In the overlap of two windows the first half of the frames comes from the earlier
one and the second half from the later one, so that every frame stays that saw the most on both sides, none counts
twice, and a clip has as many frames as it would have at once. (Long recordings are recognised in the same way in
Hugging Face's speech pipeline, there with strides.) Without an overlap windows are simply put one after the other.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor, wait
from dataclasses import dataclass

import numpy as np
import torch

from features.errors import ConfigError
from features.pooling import Frames
from features.spec import BackboneSpec


@dataclass(frozen=True)
class Windows:
    """How a backbone's long clips are cut.

    Attributes:
        samples: Of a window.
        hop_samples: From one window's start to the next one's.
        hop_frames: The same in frames; 0 where windows do not overlap and all frames stay.
        middle_frames: How many frames into a window the earlier one's frames end.
    """

    samples: int
    hop_samples: int
    hop_frames: int
    middle_frames: int

    @classmethod
    def of(cls, spec: BackboneSpec, overlap_s: float) -> Windows:
        """Windows that overlap by at least `overlap_s` seconds and start on the grid of frames.

        Raises:
            ConfigError: The overlap is more than half a window.
        """
        if overlap_s == 0:
            return cls(spec.max_samples, spec.max_samples, 0, 0)
        frame = spec.sample_rate / spec.frame_rate  # samples
        hop = int((spec.max_samples - overlap_s * spec.sample_rate) / frame)
        if overlap_s < 0 or 2 * overlap_s > spec.max_duration_s or hop < 1:
            raise ConfigError(
                f"features.window_overlap_s: {overlap_s:g} s should be at most half of a window, and {spec.name} takes "
                f"windows of {spec.max_duration_s:g} s"
            )
        return cls(spec.max_samples, round(hop * frame), hop, (int(spec.max_samples / frame) - hop) // 2)

    def keep(self, frames: Frames, *, first: bool, last: bool) -> Frames | None:
        """What stays of one window's frames, (1, L, F, D); None where nothing does.

        Args:
            frames: Of one window.
            first: Whether it is the clip's first.
            last: Whether it is the clip's last.
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


def read_ahead(
    windows: Generator[np.ndarray, None, None], pool: Executor
) -> Generator[tuple[np.ndarray, bool], None, None]:
    """(window, whether it is the last one), the next one decoded in `pool` while this one is at work."""
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
