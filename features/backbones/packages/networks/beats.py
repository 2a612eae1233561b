"""BEATs: patches of a Kaldi filter bank through a transformer with gated relative positions, every layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from features.backbones.adapters.equal_length import UnpaddedBackbone
from features.backbones.networks.kaldi_filter_bank import torchaudio_filter_bank
from features.spec import BackboneSpec

SAMPLE_RATE, N_MELS = 16_000, 128
INTEGER_SCALE = 2.0**15  # Kaldi expects 16-bit samples
MEAN, STD = 15.41663, 6.55582  # of the filter bank over AudioSet; it is divided by twice the deviation
PATCH = 16  # frames and mel bands
KERNEL = 128  # taps of the positional convolution
N_BUCKETS, MAX_DISTANCE = 320, 800  # of relative positions; half of the buckets for each direction


@dataclass(frozen=True)
class Size:
    """The size of a network.

    Attributes:
        layers: Number of transformer layers.
        dim: Dimension of the transformer.
        heads: Number of attention heads.
        hidden: Dimension inside the feed-forward layers.
        patch_dim: Dimension of a patch before its projection.
        groups: Groups of the positional convolution.
    """

    layers: int
    dim: int
    heads: int
    hidden: int
    patch_dim: int
    groups: int


BASE = Size(layers=12, dim=768, heads=12, hidden=3072, patch_dim=512, groups=16)
TINY = Size(layers=2, dim=48, heads=4, hidden=64, patch_dim=32, groups=4)


class Attention(nn.Module):
    """Attention whose bias for relative positions is gated by the queries (`gru_rel_pos` of the publisher)."""

    def __init__(self, size: Size) -> None:
        """Make the layer with random weights."""
        super().__init__()
        self.heads = size.heads
        self.q_proj, self.k_proj = nn.Linear(size.dim, size.dim), nn.Linear(size.dim, size.dim)
        self.v_proj, self.out_proj = nn.Linear(size.dim, size.dim), nn.Linear(size.dim, size.dim)
        self.grep_linear = nn.Linear(size.dim // size.heads, 8)
        self.grep_a = nn.Parameter(torch.ones(1, size.heads, 1, 1))

    def forward(self, hidden: Tensor, position_bias: Tensor) -> Tensor:
        """(B, F, D) and the bias (H, F, F) to (B, F, D)."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        queries, keys, values = (
            projection(hidden).unflatten(2, (self.heads, -1)).transpose(1, 2) for projection in projections
        )  # [B, H, F, D / H]
        gates = self.grep_linear(queries).unflatten(3, (2, 4)).sum(4).sigmoid()
        first, second = gates.chunk(2, dim=3)  # [B, H, F, 1]
        bias = (first * (second * self.grep_a - 1) + 2) * position_bias
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and a feed-forward layer; residuals are scaled as in DeepNorm (Wang et al. 2022)."""

    def __init__(self, size: Size) -> None:
        """Make the layer with random weights."""
        super().__init__()
        self.residual_scale = (2 * size.layers) ** 0.25
        self.self_attn = Attention(size)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(size.dim), nn.LayerNorm(size.dim)
        self.fc1, self.fc2 = nn.Linear(size.dim, size.hidden), nn.Linear(size.hidden, size.dim)

    def forward(self, hidden: Tensor, position_bias: Tensor) -> Tensor:
        """(B, F, D) to (B, F, D)."""
        attended = self.self_attn(hidden, position_bias)
        hidden = self.self_attn_layer_norm(hidden * self.residual_scale + attended)
        return self.final_layer_norm(hidden * self.residual_scale + self.fc2(F.gelu(self.fc1(hidden))))


class Encoder(nn.Module):
    """The transformer."""

    def __init__(self, size: Size) -> None:
        """Make the encoder with random weights."""
        super().__init__()
        conv = nn.Conv1d(size.dim, size.dim, KERNEL, padding=KERNEL // 2, groups=size.groups)
        self.pos_conv = nn.Sequential(weight_norm(conv, dim=2))
        self.layer_norm = nn.LayerNorm(size.dim)
        layers = [Layer(size) for _ in range(size.layers)]
        # the publisher's layers share one table, which its files contain once for each of them
        layers[0].self_attn.relative_attention_bias = nn.Embedding(N_BUCKETS, size.heads)
        self.layers = nn.ModuleList(layers)

    def forward(self, hidden: Tensor) -> list[Tensor]:
        """Return the input of the first layer and the output of every layer, each (B, F, D), of (B, F, D)."""
        positions = self.pos_conv(hidden.transpose(1, 2))[:, :, :-1]  # an even kernel gives one frame too many
        outputs = [self.layer_norm(hidden + F.gelu(positions).transpose(1, 2))]
        buckets = position_buckets(hidden.shape[1], hidden.device)
        bias = self.get_submodule("layers.0.self_attn.relative_attention_bias")(buckets).permute(2, 0, 1)
        for layer in self.layers:
            outputs.append(layer(outputs[-1], bias))
        return outputs


class Beats(nn.Module):
    """The network without a classifier, with the names of the published state dict."""

    def __init__(self, size: Size) -> None:
        """Make the network with random weights."""
        super().__init__()
        self.filter_bank = torchaudio_filter_bank(SAMPLE_RATE, N_MELS, "povey", INTEGER_SCALE)
        self.patch_embedding = nn.Conv2d(1, size.patch_dim, PATCH, PATCH, bias=False)
        self.layer_norm = nn.LayerNorm(size.patch_dim)
        self.post_extract_proj = nn.Linear(size.patch_dim, size.dim)
        self.encoder = Encoder(size)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) to (B, L, F, D); a frame is a patch, those of one time in order."""
        bank = (self.filter_bank(waveforms) - MEAN) / (2 * STD)
        patches = self.patch_embedding(bank[:, None]).flatten(2).transpose(1, 2)  # [B, F, patch_dim]
        return torch.stack(self.encoder(self.post_extract_proj(self.layer_norm(patches))), dim=1)


class BeatsBackbone(UnpaddedBackbone):
    """All layers of BEATs; clips of one length go through the network together.

    The publisher's mask for padding is not exact, because it divides the samples of a batch evenly among its patches.
    """

    def __init__(self, module: Beats, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network."""
        self.spec = spec
        self.device = device
        self.module: Beats = module.to(device)

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self.module(waveforms.float())


def position_buckets(n_frames: int, device: torch.device) -> Tensor:
    """Return the bucket of each pair of positions, (F, F): near distances have their own, far ones share some.

    The formula is that of T5 (Raffel et al. 2020).
    """
    at = torch.arange(n_frames, device=device)
    distance = at[None, :] - at[:, None]
    per_direction = N_BUCKETS // 2
    exact = per_direction // 2
    size = distance.abs()
    far = torch.log(size.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact) * (per_direction - exact)
    shared = (exact + far.long()).clamp(max=per_direction - 1)
    return (distance > 0).long() * per_direction + torch.where(size < exact, size, shared)
