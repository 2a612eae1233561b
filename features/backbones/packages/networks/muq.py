"""MuQ: log-mels through residual convolutions and a conformer, one frame per 40 ms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Wav2Vec2ConformerConfig
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import Wav2Vec2ConformerEncoderLayer

from features.backbones.adapters.equal_length import UnpaddedBackbone
from features.backbones.networks.host_waits import RotaryPositions
from features.backbones.packages.networks.mel_powers import MelPowers
from features.spec import BackboneSpec

SAMPLE_RATE = 24_000
N_FFT, HOP_LENGTH, N_MELS = 2048, 240, 128
POWER_FLOOR = 1e-10  # -100 dB
MEAN, STD = 6.768444971712967, 18.417922652295623  # of the decibels of the Million Song Dataset
ROTARY_BASE = 10_000


class ResidualBlock(nn.Module):
    """Two convolutions over bands and time beside a third; halves both axes."""

    def __init__(self, n_in: int, n_out: int) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, padding=1), nn.BatchNorm2d(n_out)
        self.conv3, self.bn3 = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, M, F) to (B, C', ceil(M / 2), ceil(F / 2))."""
        convolved = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        return F.relu(convolved + self.bn3(self.conv3(maps)))


class Subsampling(nn.Module):
    """Two residual blocks, and a projection of the bands and channels of each frame."""

    def __init__(self, channels: int, dim: int) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.conv = nn.Sequential(ResidualBlock(1, channels), ResidualBlock(channels, channels))
        self.linear = nn.Linear(channels * N_MELS // 4, dim)

    def forward(self, mels: Tensor) -> Tensor:
        """(B, M, F) to (B, ceil(F / 4), D)."""
        maps = self.conv(mels[:, None])  # [B, C, M / 4, F / 4]
        return self.linear(maps.permute(0, 3, 1, 2).flatten(2))


class Conformer(nn.Module):
    """The encoder of Wav2Vec2-Conformer with rotary positions, without its positional convolution, which is not used.

    Its layers are those of transformers.
    """

    def __init__(self, dim: int, depth: int, n_heads: int) -> None:
        """Make the layers with random weights."""
        super().__init__()
        config = Wav2Vec2ConformerConfig(
            hidden_size=dim,
            num_attention_heads=n_heads,
            intermediate_size=4 * dim,
            hidden_act="swish",
            position_embeddings_type="rotary",
        )
        config._attn_implementation = "sdpa"
        head_dim = dim // n_heads
        self.embed_positions = RotaryPositions(ROTARY_BASE ** -(torch.arange(0, head_dim, 2).float() / head_dim))
        self.layers = nn.ModuleList(Wav2Vec2ConformerEncoderLayer(config) for _ in range(depth))
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, F, D) to (B, L, F, D), the inputs of all layers and the normed output of the last."""
        positions = self.embed_positions(frames)
        states = [frames]
        for layer in self.layers:
            states.append(layer(states[-1], relative_position_embeddings=positions))
        states[-1] = self.layer_norm(states[-1])
        return torch.stack(states, dim=1)


class Muq(nn.Module):
    """The encoder, with the names of the published state dict."""

    def __init__(self, dim: int, depth: int, n_heads: int, channels: int) -> None:
        """Make the network with random weights."""
        super().__init__()
        self.powers = MelPowers(SAMPLE_RATE, N_FFT, HOP_LENGTH, N_MELS, htk=True, norm=None)
        self.conv = Subsampling(channels, dim)
        self.conformer = Conformer(dim, depth, n_heads)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) to (B, L, F, D)."""
        return self.conformer(self.conv(self.log_mels(waveforms)))

    def log_mels(self, waveforms: Tensor) -> Tensor:
        """Return normalised mel bands in decibels, without the last frame: (B, T) to (B, M, F)."""
        decibels = 10 * self.powers(waveforms)[:, :-1].clamp(min=POWER_FLOOR).log10()
        return (decibels.transpose(1, 2) - MEAN) / STD


class MuqBackbone(UnpaddedBackbone):
    """All hidden states; clips of one length go through the network together."""

    def __init__(self, module: Muq, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network."""
        self.spec = spec
        self.device = device
        self.module: Muq = module.to(device)

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self.module(waveforms.float())
