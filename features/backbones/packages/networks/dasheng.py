"""Dasheng: log-mels through a transformer over time, one frame per 40 ms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from features.backbones.adapters.equal_length import UnpaddedBackbone
from features.backbones.packages.networks.mel_powers import MelPowers
from features.backbones.packages.networks.vision_transformer import NORM_EPS, Block
from features.spec import BackboneSpec

SAMPLE_RATE = 16_000
N_FFT, HOP_LENGTH, N_MELS = 512, 160, 64
POWER_FLOOR = 1e-10  # -100 dB
RANGE_DB = 120.0  # below the loudest value of a clip
PATCH_FRAMES = 4  # mel frames of one patch, which covers all bands
CHUNK_PATCHES = 252  # 10.08 s, as long as the position embedding; each chunk attends to itself
POSITION_STD = 0.02


class PatchEmbedding(nn.Module):
    """A convolution over patches of 64 bands × 4 frames, which do not overlap."""

    def __init__(self, dim: int) -> None:
        """Make the convolution with random weights."""
        super().__init__()
        size = (N_MELS, PATCH_FRAMES)
        self.proj = nn.Conv2d(1, dim, size, stride=size)


class Dasheng(nn.Module):
    """The encoder, with the names of the published state dict."""

    def __init__(self, dim: int, depth: int, n_heads: int) -> None:
        """Make the network with random weights."""
        super().__init__()
        self.init_bn = nn.ModuleDict({"1": nn.BatchNorm2d(N_MELS)})  # second in the publisher's sequence
        self.patch_embed = PatchEmbedding(dim)
        self.time_pos_embed = nn.Parameter(torch.randn(1, dim, 1, CHUNK_PATCHES) * POSITION_STD)
        self.freq_pos_embed = nn.Parameter(torch.randn(1, dim, 1, 1) * POSITION_STD)
        self.blocks = nn.ModuleList(Block(dim, n_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, NORM_EPS)
        self.powers = MelPowers(SAMPLE_RATE, N_FFT, HOP_LENGTH, N_MELS, htk=True, norm=None)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) to (B, L, F, D), the inputs of all layers and the normed output."""
        mels = self.init_bn["1"](self.log_mels(waveforms)[:, :, None]).transpose(1, 2)  # [B, 1, M, F]
        patches = self.patch_embed.proj(mels)  # [B, D, 1, F']
        return torch.cat([self._chunk_states(chunk) for chunk in patches.split(CHUNK_PATCHES, dim=3)], dim=2)

    def _chunk_states(self, patches: Tensor) -> Tensor:
        """Return the states (B, L, F, D) of patches (B, D, 1, F) of one chunk."""
        placed = patches + self.time_pos_embed[..., : patches.shape[3]] + self.freq_pos_embed
        states = [placed.flatten(2).transpose(1, 2)]
        for block in self.blocks:
            states.append(block(states[-1]))
        states[-1] = self.norm(states[-1])
        return torch.stack(states, dim=1)

    def log_mels(self, waveforms: Tensor) -> Tensor:
        """Return mel bands in decibels, at most 120 below each clip's loudest: (B, T) to (B, M, F).

        The publisher's front end takes the loudest value of a whole batch.
        """
        decibels = 10 * self.powers(waveforms).clamp(min=POWER_FLOOR).log10().transpose(1, 2)
        return torch.maximum(decibels, decibels.amax((1, 2), keepdim=True) - RANGE_DB)


class DashengBackbone(UnpaddedBackbone):
    """All hidden states; clips of one length go through the network together."""

    def __init__(self, module: Dasheng, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network."""
        self.spec = spec
        self.device = device
        self.module: Dasheng = module.to(device)

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self.module(waveforms.float())
