"""Mel spectrograms of clips that are reflected at both ends."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MelPowers(nn.Module):
    """Powers of mel bands, with the frames of `librosa.stft(center=True, pad_mode="reflect")`."""

    bank: Tensor
    window: Tensor

    def __init__(self, sample_rate: int, n_fft: int, hop_length: int, n_mels: int, **bank: Any) -> None:
        """Make the filters.

        Args:
            sample_rate: Hz.
            n_fft: Samples of a frame, under a Hann window; a clip has more than half of them.
            hop_length: Samples from one frame to the next.
            n_mels: Number of mel bands.
            **bank: Further arguments of `librosa.filters.mel`.
        """
        from librosa.filters import mel

        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        filters = mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, **bank).T.copy()
        self.register_buffer("bank", torch.from_numpy(filters).float(), persistent=False)  # [n_fft // 2 + 1, n_mels]
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the powers of clips of equal length: (B, T) to (B, F, n_mels), F is 1 + T // hop_length."""
        padded = F.pad(waveforms[:, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")[:, 0]
        frames = padded.unfold(1, self.n_fft, self.hop_length) * self.window  # [B, F, n_fft]
        return torch.fft.rfft(frames).abs().square() @ self.bank
