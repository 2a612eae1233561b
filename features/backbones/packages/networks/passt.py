"""PaSST: overlapping patches of a log-mel spectrogram through a vision transformer with two class tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.backbones.adapters.equal_length import UnpaddedBackbone
from features.backbones.packages.networks.vision_transformer import NORM_EPS, Block
from features.spec import BackboneSpec

SAMPLE_RATE = 32_000
N_FFT, WINDOW_LENGTH, N_MELS = 1024, 800, 128
PREEMPHASIS = 0.97
F_MAX_HZ = 15_000.0  # the middle of the range that it is drawn from in training
POWER_OFFSET = 1e-5  # inside the logarithm
MEAN, STD = -4.5, 5.0
PATCH = 16  # frames and mel bands
N_TOKENS = 2  # the class token and the distillation token, before the patches
TOKEN_STD = 0.02


@dataclass(frozen=True)
class Shape:
    """The shape of a network.

    Attributes:
        dim: D.
        depth: Number of transformer layers.
        n_heads: Attention heads of a layer.
        stride: Mel bands, and frames of the spectrogram, from one patch to the next.
        hop_length: Samples from one frame of the spectrogram to the next.
        n_times: Patches along time for which there are position embeddings.
    """

    dim: int
    depth: int
    n_heads: int
    stride: int
    hop_length: int
    n_times: int


class Passt(nn.Module):
    """The network without a classifier, with the names of the published state dict."""

    bank: Tensor
    window: Tensor

    def __init__(self, shape: Shape, embedding: Literal["frames", "pooled"]) -> None:
        """Make the network with random weights.

        Args:
            shape: Its shape.
            embedding: `pooled`, the mean of the two class tokens, or `frames`, the patches averaged over the bands.
        """
        from torchaudio.compliance.kaldi import get_mel_banks

        super().__init__()
        self.hop_length, self.embedding = shape.hop_length, embedding
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, shape.dim, PATCH, shape.stride)})
        self.cls_token, self.dist_token = _embedding(1, 1, shape.dim), _embedding(1, 1, shape.dim)
        self.new_pos_embed = _embedding(1, N_TOKENS, shape.dim)
        self.freq_new_pos_embed = _embedding(1, shape.dim, (N_MELS - PATCH) // shape.stride + 1, 1)
        self.time_new_pos_embed = _embedding(1, shape.dim, 1, shape.n_times)
        self.blocks = nn.ModuleList(Block(shape.dim, shape.n_heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.dim, NORM_EPS)
        bank, _ = get_mel_banks(N_MELS, N_FFT, float(SAMPLE_RATE), 0.0, F_MAX_HZ, 100.0, -500.0, 1.0)
        self.register_buffer("bank", F.pad(bank, (0, 1)).T, persistent=False)  # [N_FFT // 2 + 1, N_MELS]
        self.register_buffer("window", torch.hann_window(WINDOW_LENGTH, periodic=False), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) to (B, L, F, D).

        `pooled` has one frame and the outputs of all layers, since the tokens are the same for all clips before the
        first. `frames` has the inputs of all layers, then the output of the last. The last output is normed.
        """
        patches = self.patch_embed["proj"](self.log_mels(waveforms)[:, None])  # [B, D, bands, times]
        n_bands, n_times = patches.shape[2:]
        placed = patches + self.time_new_pos_embed[..., :n_times] + self.freq_new_pos_embed
        tokens = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        hidden = torch.cat([tokens.expand(len(patches), -1, -1), placed.flatten(2).transpose(1, 2)], dim=1)
        states = [self._selected(hidden, n_bands)]
        for block in self.blocks:
            hidden = block(hidden)
            states.append(self._selected(hidden, n_bands))
        states[-1] = self._selected(self.norm(hidden), n_bands)
        return torch.stack(states[1:] if self.embedding == "pooled" else states, dim=1)

    def log_mels(self, waveforms: Tensor) -> Tensor:
        """Return the scaled logarithm of mel powers after pre-emphasis, reflected at both ends: (B, T) to (B, M, F)."""
        emphasised = waveforms[:, 1:] - PREEMPHASIS * waveforms[:, :-1]
        half = WINDOW_LENGTH // 2
        padded = F.pad(emphasised[:, None], (half, half), mode="reflect")[:, 0]
        frames = padded.unfold(1, WINDOW_LENGTH, self.hop_length) * self.window  # [B, F, WINDOW_LENGTH]
        power = torch.fft.rfft(frames, n=N_FFT).abs().square() @ self.bank
        return (((power + POWER_OFFSET).log() - MEAN) / STD).transpose(1, 2)

    def _selected(self, hidden: Tensor, n_bands: int) -> Tensor:
        """Return the frames (B, F, D) of a state (B, 2 + bands * times, D)."""
        if self.embedding == "pooled":
            return hidden[:, :N_TOKENS].mean(1, keepdim=True)
        return hidden[:, N_TOKENS:].unflatten(1, (n_bands, -1)).mean(1)


class PasstBackbone(UnpaddedBackbone):
    """All layers of PaSST; clips of one length go through the network together."""

    def __init__(self, module: Passt, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network."""
        self.spec = spec
        self.device = device
        self.module: Passt = module.to(device)

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self.module(waveforms.float())


def _embedding(*shape: int) -> nn.Parameter:
    """Return a random token or position embedding."""
    return nn.Parameter(TOKEN_STD * torch.randn(shape))
