"""M2D: patches of a log-mel spectrogram through a vision transformer, in chunks of about six seconds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.backbones.adapters.equal_length import UnpaddedBackbone
from features.backbones.packages.networks.mel_powers import MelPowers
from features.spec import BackboneSpec

SAMPLE_RATE = 16_000
N_FFT, HOP_LENGTH, N_MELS = 400, 160, 80
F_MIN_HZ, F_MAX_HZ = 50, 8_000
POWER_OFFSET = torch.finfo(torch.float32).eps  # inside the logarithm
PATCH = 16  # frames and mel bands
CHUNK_FRAMES = 608
MEAN, STD = -7.1, 4.2  # of files without statistics of their own
NORM_EPSILON = 1e-6


class M2d(nn.Module):
    """The encoder.

    Its layers are torch's, which have other names than the published state dict; see `packages/m2d.py`.
    """

    norm_stats: Tensor

    def __init__(self, dim: int = 768, n_layers: int = 12, n_heads: int = 12) -> None:
        """Make the network with random weights."""
        super().__init__()
        n_patches = N_MELS // PATCH * CHUNK_FRAMES // PATCH
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, PATCH, PATCH)})
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + n_patches, dim))
        self.blocks = nn.ModuleList(_layer(dim, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.register_buffer("norm_stats", torch.tensor([MEAN, STD]))
        self.powers = MelPowers(SAMPLE_RATE, N_FFT, HOP_LENGTH, N_MELS, fmin=F_MIN_HZ, fmax=F_MAX_HZ)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) to (B, F, 5 D); a frame has the patches of one time, low bands first."""
        mels = (self.log_mels(waveforms) - self.norm_stats[0]) / self.norm_stats[1]
        mels = F.pad(mels, (0, -mels.shape[2] % PATCH))  # zeros, the mean
        return torch.cat([self.encode(chunk) for chunk in mels[:, None].split(CHUNK_FRAMES, dim=3)], dim=1)

    def log_mels(self, waveforms: Tensor) -> Tensor:
        """Return the logarithm of mel powers, reflected at both ends: (B, T) to (B, M, F)."""
        return (self.powers(waveforms) + POWER_OFFSET).log().transpose(1, 2)

    def encode(self, mels: Tensor) -> Tensor:
        """Embed a chunk of at most `CHUNK_FRAMES` frames: (B, 1, M, F) to (B, F // 16, 5 D)."""
        patches = self.patch_embed["proj"](mels)  # [B, D, 5, F // 16]
        n_bands, n_times = patches.shape[2:]
        positions = self.pos_embed[:, 1:].unflatten(1, (n_bands, -1))[:, :, :n_times].flatten(1, 2)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1)
        hidden = torch.cat([first, patches.flatten(2).transpose(1, 2) + positions], dim=1)
        for block in self.blocks:
            hidden = block(hidden)
        bands = self.norm(hidden)[:, 1:].unflatten(1, (n_bands, n_times))
        return bands.transpose(1, 2).flatten(2)


class M2dBackbone(UnpaddedBackbone):
    """Frames of M2D; clips of one length go through the network together."""

    def __init__(self, module: M2d, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network."""
        self.spec = spec
        self.device = device
        self.module: M2d = module.to(device)

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self.module(waveforms.float())[:, None]


def _layer(dim: int, n_heads: int) -> nn.TransformerEncoderLayer:
    """Return a layer of a vision transformer (Dosovitskiy et al. 2021)."""
    return nn.TransformerEncoderLayer(
        dim, n_heads, 4 * dim, 0.0, "gelu", NORM_EPSILON, batch_first=True, norm_first=True
    )
