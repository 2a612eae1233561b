"""Log-mel spectrograms of a batch, and of one clip as an exportable module."""

from __future__ import annotations

import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.backbones.base import Backbone
from features.pooling import Frames
from features.spec import BackboneSpec

POWER_FLOOR = 1e-10  # -100 dB, as librosa's power_to_db


class LogmelBackbone(Backbone):
    """Log-mel spectrograms of a whole batch at once, with each clip masked beyond its end."""

    def __init__(self, spec: BackboneSpec, device: torch.device) -> None:
        """Compute the window and the filter bank."""
        from librosa.filters import mel

        self.spec = spec
        self.device = device
        settings = spec.settings
        htk = settings["mel_scale"] == "htk"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Empty filters")  # bands narrower than a bin stay at the floor
            bank = mel(
                sr=spec.sample_rate,
                n_fft=settings["n_fft"],
                n_mels=spec.dim,
                fmin=settings["f_min_hz"],
                fmax=settings["f_max_hz"],
                htk=htk,
                norm=None if htk else "slaney",
            )
        self.bank = torch.from_numpy(bank.T.copy()).float().to(device)  # [n_fft // 2 + 1, D]
        self.window = torch.hann_window(settings["n_fft"], device=device)

    @property
    def parameters(self) -> int:
        """0: there are no parameters."""
        return 0

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; F is ceil(samples / hop_length)."""
        n_fft, hop = self.spec.settings["n_fft"], self.spec.settings["hop_length"]
        counts = [math.ceil(length / hop) for length in lengths.tolist()]
        valid = lengths.to(waveforms.device, non_blocking=True)
        inside = torch.arange(waveforms.shape[1], device=waveforms.device)[None] < valid[:, None]
        needed = (max(counts) - 1) * hop + n_fft
        before = (n_fft - hop) // 2
        padded = F.pad(waveforms.float().masked_fill(~inside, 0.0), (before, max(0, needed - before)))[:, :needed]
        frames = padded.unfold(1, n_fft, hop) * self.window  # [B, F, n_fft]
        power = torch.fft.rfft(frames).abs().square() @ self.bank  # [B, F, D]
        if self.spec.settings["scale"] == "log":
            power = 10 * power.clamp(min=POWER_FLOOR).log10()
        return Frames(power[:, None], torch.tensor(counts))

    def graph(self, n_layers: int | None = None) -> nn.Module:
        """See `Backbone.graph`; there is one layer."""
        return _Graph(self)


class _Graph(nn.Module):
    """One clip's spectrogram."""

    bank: Tensor
    window: Tensor

    def __init__(self, backbone: LogmelBackbone) -> None:
        super().__init__()
        settings = backbone.spec.settings
        self.n_fft, self.hop, self.log = settings["n_fft"], settings["hop_length"], settings["scale"] == "log"
        self.register_buffer("bank", backbone.bank)
        self.register_buffer("window", backbone.window)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(1, T) to (1, 1, F, D)."""
        count = (waveforms.shape[1] + self.hop - 1) // self.hop
        padded = F.pad(waveforms, ((self.n_fft - self.hop) // 2, self.n_fft))[:, : (count - 1) * self.hop + self.n_fft]
        frames = padded.unfold(1, self.n_fft, self.hop) * self.window
        power = torch.fft.rfft(frames).abs().square() @ self.bank
        return (10 * power.clamp(min=POWER_FLOOR).log10() if self.log else power)[:, None]
