"""The log-mel patches that VGGish sees, and the numbers that decide them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
WINDOW_LENGTH = 400  # 25 ms
HOP_LENGTH = 160  # 10 ms
N_FFT = 512
N_MELS = 64
MEL_RANGE_HZ = (125.0, 7500.0)
LOG_OFFSET = 0.01
PATCH_FRAMES = 96  # 0.96 s, no overlap
PATCH_SAMPLES = (PATCH_FRAMES - 1) * HOP_LENGTH + WINDOW_LENGTH


def log_mel_patches(waveforms: Tensor, n_patches: int, window: Tensor, mel: Tensor) -> Tensor:
    """The first `n_patches` log-mel patches of each waveform: (B, T) to (B, P, 96, 64)."""
    import torch

    n_frames = n_patches * PATCH_FRAMES
    needed = (n_frames - 1) * HOP_LENGTH + WINDOW_LENGTH
    frames = waveforms.float()[:, :needed].unfold(1, WINDOW_LENGTH, HOP_LENGTH) * window  # [B, F, 400]
    magnitude = torch.fft.rfft(frames, n=N_FFT).abs()
    log_mel = torch.log(magnitude @ mel + LOG_OFFSET)
    return log_mel.unflatten(1, (n_patches, PATCH_FRAMES))
