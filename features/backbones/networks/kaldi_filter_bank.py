"""Kaldi's log-mel filter banks of a batch, without dither."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW_S, HOP_S = 0.025, 0.01
PREEMPHASIS = 0.97
POWER_FLOOR = 1.1920928955078125e-07  # float32's epsilon
LOWEST_HZ = 20.0
POVEY_EXPONENT = 0.85  # Povey's window is Hann's to this power


class KaldiFilterBank(nn.Module):
    """Kaldi's `compute-fbank-feats` with `dither=0` and `snip_edges=true`.

    Every frame depends on its own samples alone, so frames that lie inside a clip are not affected by padding.

    Attributes:
        window_length: Samples of a frame.
        hop_length: Samples from one frame to the next.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, bank: np.ndarray, window: Tensor, hop_length: int, scale: float = 1.0) -> None:
        """Create a filter bank.

        Args:
            bank: Weights of the mel filters, (n_fft // 2 + 1, D). Their type is that of all arithmetic.
            window: The window, (window_length,).
            hop_length: Samples from one frame to the next.
            scale: Factor for the samples; Kaldi itself expects 16-bit integers, 2¹⁵.
        """
        super().__init__()
        self.window_length, self.hop_length, self.scale = len(window), hop_length, scale
        self.n_fft = 2 * (len(bank) - 1)
        self.register_buffer("bank", torch.from_numpy(bank), persistent=False)
        self.register_buffer("window", window.to(self.bank.dtype), persistent=False)

    def n_frames(self, n_samples: int) -> int:
        """Return the number of frames that lie entirely inside `n_samples` samples."""
        return max(0, (n_samples - self.window_length) // self.hop_length + 1)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Compute the natural logarithm of the bands' power: (B, T) to (B, F, D), F = `n_frames(T)`."""
        samples = waveforms.to(self.bank.dtype) * self.scale
        frames = samples.unfold(1, self.window_length, self.hop_length)  # [B, F, window_length]
        frames = frames - frames.mean(2, keepdim=True)
        frames = (frames - PREEMPHASIS * F.pad(frames, (1, 0), mode="replicate")[..., :-1]) * self.window
        power = torch.fft.rfft(frames, n=self.n_fft).abs().square()
        return (power @ self.bank).clamp(min=POWER_FLOOR).log()


def torchaudio_filter_bank(
    sample_rate: int, n_mels: int, window: Literal["hanning", "povey"] = "hanning", scale: float = 1.0
) -> KaldiFilterBank:
    """Return the filter bank that `torchaudio.compliance.kaldi.fbank` computes with this `window_type`."""
    from torchaudio.compliance.kaldi import get_mel_banks

    window_length = int(WINDOW_S * sample_rate)
    n_fft = 1 << (window_length - 1).bit_length()
    weights, _ = get_mel_banks(n_mels, n_fft, float(sample_rate), LOWEST_HZ, 0.0, 100.0, -500.0, 1.0)
    shape = torch.hann_window(window_length, periodic=False)
    if window == "povey":
        shape = shape.pow(POVEY_EXPONENT)
    return KaldiFilterBank(F.pad(weights, (0, 1)).T.numpy(), shape, int(HOP_S * sample_rate), scale)
