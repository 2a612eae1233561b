"""A plain convolutional stack on mel spectrograms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from heads.models.options import CnnOptions


def conv_blocks(channels: Sequence[int], *, batch_norm: bool, time_pools: int) -> nn.Sequential:
    """Build a block of 3×3 convolution, optional batch norm, ReLU and max-pool for each width.

    Args:
        channels: Width of each block.
        batch_norm: Normalise after each convolution.
        time_pools: Number of first blocks that halve the frames; all blocks halve the bands.

    Returns:
        A module that maps (B, 1, F, D) to (B, C, F', D').
    """
    layers: list[nn.Module] = []
    before = 1
    for number, width in enumerate(channels):
        layers.append(nn.Conv2d(before, width, 3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(width))
        pool = (2 if number < time_pools else 1, 2)
        # ReLU after pooling gives the same values and processes only a quarter of them
        layers += [nn.MaxPool2d(pool, ceil_mode=True), nn.ReLU(inplace=True)]
        before = width
    return nn.Sequential(*layers)


class Cnn(nn.Module):
    """Convolution blocks, flattened bands, mean and maximum over time, dropout, linear."""

    def __init__(self, options: CnnOptions, dim: int, n_classes: int) -> None:
        """Build the layers for spectrograms of `dim` bands."""
        super().__init__()
        self.blocks = conv_blocks(options.channels, batch_norm=options.batch_norm, time_pools=len(options.channels))
        self.dropout = nn.Dropout(options.dropout)
        width = options.channels[-1] * pooled_bands(dim, len(options.channels))
        self.output = nn.Linear(2 * width, n_classes)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Map spectrograms (B, F, D) to logits (B, C)."""
        image = inputs[:, None].contiguous(memory_format=torch.channels_last)
        frames = self.blocks(image).permute(0, 2, 1, 3).flatten(2)  # [B, F', C·D']
        return self.output(self.dropout(torch.cat([frames.mean(dim=1), frames.amax(dim=1)], dim=1)))


def pooled_bands(dim: int, blocks: int) -> int:
    """Return the number of bands that remain of `dim` after `blocks` blocks."""
    for _ in range(blocks):
        dim = -(-dim // 2)
    return dim


def build(options: CnnOptions, dim: int, n_classes: int) -> nn.Module:
    """Build the network of a config entry."""
    return Cnn(options, dim, n_classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
