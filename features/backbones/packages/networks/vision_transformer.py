"""The layer of a vision transformer (Dosovitskiy et al. 2021), with the names of timm's state dicts."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-6


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, dim: int, n_heads: int) -> None:
        """Make the layer with random weights."""
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, F, D) to (B, F, D)."""
        queries, keys, values = self.qkv(frames).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(queries, keys, values)  # [B, H, F, D / H]
        return self.proj(attended.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, F, D) to (B, F, D)."""
        return self.fc2(F.gelu(self.fc1(frames)))


class Block(nn.Module):
    """A transformer layer with normalisation before attention and MLP."""

    def __init__(self, dim: int, n_heads: int) -> None:
        """Make the layer with random weights."""
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, NORM_EPS), Attention(dim, n_heads)
        self.norm2, self.mlp = nn.LayerNorm(dim, NORM_EPS), Mlp(dim)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, F, D) to (B, F, D)."""
        frames = frames + self.attn(self.norm1(frames))
        return frames + self.mlp(self.norm2(frames))
