"""Convolutions on mel spectrograms, followed by a recurrent network over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from heads.models.cnn import conv_blocks, pooled_bands
from heads.models.options import CrnnOptions

TIME_POOLS = 2


class Crnn(nn.Module):
    """Convolution blocks, flattened bands, a bidirectional GRU, mean over time, dropout, linear."""

    def __init__(self, options: CrnnOptions, dim: int, n_classes: int) -> None:
        """Build the layers for spectrograms of `dim` bands."""
        super().__init__()
        self.blocks = conv_blocks(options.channels, batch_norm=options.batch_norm, time_pools=TIME_POOLS)
        width = options.channels[-1] * pooled_bands(dim, len(options.channels))
        self.recurrent = nn.GRU(width, options.hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(2 * options.hidden, n_classes)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Map spectrograms (B, F, D) to logits (B, C)."""
        image = inputs[:, None].contiguous(memory_format=torch.channels_last)
        frames = self.blocks(image).permute(0, 2, 1, 3).flatten(2)  # [B, F', C·D']
        return self.output(self.dropout(self.recurrent(frames)[0].mean(dim=1)))


def build(options: CrnnOptions, dim: int, n_classes: int) -> nn.Module:
    """Build the network of a config entry."""
    return Crnn(options, dim, n_classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
