"""Resampling on the model's device, a batch at a time, for machines whose CPUs are too slow for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from features.audio.decoding import Waveform, resampled_length
from features.backbones.base import pad
from features.inference.device_transfer import ToDevice

# torchaudio's parameters for the quality of resampy's `kaiser_best`
QUALITY = {"lowpass_filter_width": 64, "rolloff": 0.9475937167399596, "beta": 14.769656459379492}


def batch_on_device(
    clips: Sequence[Waveform], min_samples: int, sample_rate: int, feed: ToDevice
) -> tuple[Tensor, Tensor]:
    """Move the clips of a batch to a device at their files' rates and resample them there.

    Args:
        clips: Clips at their files' sample rates.
        min_samples: The shortest length of a clip, at `sample_rate`.
        sample_rate: Target sample rate in Hz.
        feed: Moves a batch to the device.

    Returns:
        Waveforms (B, T) on the device, and lengths (B,) on the CPU. A clip's samples do not depend on the other clips.
    """
    wanted = [resampled_length(len(clip.samples), clip.sample_rate, sample_rate) for clip in clips]
    lengths = torch.tensor([max(length, min_samples) for length in wanted])
    waveforms = torch.zeros(len(clips), int(lengths.max()), device=feed.device)
    for rate in dict.fromkeys(clip.sample_rate for clip in clips):
        positions = [at for at, clip in enumerate(clips) if clip.sample_rate == rate]
        native = feed(pad([clips[at].samples for at in positions], 1, pinned=feed.pinned)[0])
        resampled = native if rate == sample_rate else resample_batch(native, rate, sample_rate)
        for at, samples in zip(positions, resampled, strict=True):
            waveforms[at, : wanted[at]] = samples[: wanted[at]]
    return waveforms, lengths


def resample_batch(waveforms: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample (B, T) to (B, ceil(T · ratio)) by windowed-sinc interpolation; the ends are padded with zeros.

    Args:
        waveforms: (B, T).
        from_rate: Present sample rate in Hz.
        to_rate: Target sample rate in Hz.
    """
    with torch.inference_mode():
        return _kernel(from_rate, to_rate, waveforms.device)(waveforms)


@lru_cache(maxsize=8)
def _kernel(from_rate: int, to_rate: int, device: torch.device) -> torch.nn.Module:
    from torchaudio.transforms import Resample

    resample = Resample(from_rate, to_rate, "sinc_interp_kaiser", dtype=torch.float64, **QUALITY)
    return resample.float().to(device)
