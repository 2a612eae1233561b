"""CNN14 of PANNs: log-mels through six blocks of convolutions, one embedding per clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.backbones.adapters.equal_length import UnpaddedBackbone
from features.backbones.packages.networks.mel_powers import MelPowers
from features.spec import BackboneSpec

SAMPLE_RATE = 32_000
N_FFT, HOP_LENGTH, N_MELS = 1024, 320, 64
F_MIN_HZ, F_MAX_HZ = 50, 14_000
POWER_FLOOR = 1e-10  # -100 dB
CHANNELS = (64, 128, 256, 512, 1024, 2048)


class ConvBlock(nn.Module):
    """Two convolutions, each normalised and rectified, and an average over `pool` × `pool` values."""

    def __init__(self, n_in: int, n_out: int, pool: int) -> None:
        """Make the block with random weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(n_out), nn.BatchNorm2d(n_out)
        self.pool = pool

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, F, M) to (B, C', F // pool, M // pool)."""
        maps = F.relu(self.bn1(self.conv1(maps)))
        maps = F.relu(self.bn2(self.conv2(maps)))
        return F.avg_pool2d(maps, self.pool)


class Cnn14(nn.Module):
    """The network up to the embedding, with the names of the published state dict."""

    def __init__(self, channels: Sequence[int] = CHANNELS) -> None:
        """Make the network with random weights; `channels` are those of the six blocks."""
        super().__init__()
        self.bn0 = nn.BatchNorm2d(N_MELS)
        self.names = [f"conv_block{number}" for number in range(1, len(channels) + 1)]
        for name, n_in, n_out in zip(self.names, (1, *channels), channels, strict=False):
            self.add_module(name, ConvBlock(n_in, n_out, pool=1 if name == self.names[-1] else 2))
        self.fc1 = nn.Linear(channels[-1], channels[-1])
        self.powers = MelPowers(SAMPLE_RATE, N_FFT, HOP_LENGTH, N_MELS, fmin=F_MIN_HZ, fmax=F_MAX_HZ)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) to (B, D)."""
        maps = self.bn0(self.log_mels(waveforms)[:, :, :, None]).permute(0, 3, 2, 1)  # [B, 1, F, M]
        for name in self.names:
            maps = self.get_submodule(name)(maps)
        frames = maps.mean(3)  # [B, C, F']
        return F.relu(self.fc1(frames.amax(2) + frames.mean(2)))

    def log_mels(self, waveforms: Tensor) -> Tensor:
        """Return mel bands in decibels, reflected at both ends: (B, T) to (B, M, F)."""
        return 10 * self.powers(waveforms).clamp(min=POWER_FLOOR).log10().transpose(1, 2)


class Cnn14Backbone(UnpaddedBackbone):
    """One embedding per clip; clips of one length go through the network together."""

    def __init__(self, module: Cnn14, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network."""
        self.spec = spec
        self.device = device
        self.module: Cnn14 = module.to(device)

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self.module(waveforms.float())[:, None, None]
