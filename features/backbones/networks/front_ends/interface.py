"""The interface of front ends, and what they share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Inputs = list[tuple[list[int], dict[str, Tensor]]]
"""Groups of a batch's rows with the arguments of the encoder's `forward` for these rows, all of one shape."""


class FrontEnd(nn.Module):
    """A feature extractor for padded batches."""

    @abstractmethod
    def forward(self, waveforms: Tensor, lengths: Sequence[int]) -> Inputs:
        """Prepare a batch.

        Args:
            waveforms: (B, T) on the module's device; samples beyond a clip's length are ignored.
            lengths: Valid samples of each clip.

        Returns:
            The inputs of the encoder by groups of rows.
        """


def groups_of(numbers: Sequence[int]) -> dict[int, list[int]]:
    """Return the positions of each number."""
    groups: dict[int, list[int]] = {}
    for at, number in enumerate(numbers):
        groups.setdefault(number, []).append(at)
    return groups


def inside(counts: Sequence[int], size: int, device: torch.device) -> Tensor:
    """Return a mask (B, size) of positions below each row's count."""
    return torch.arange(size, device=device)[None] < torch.tensor(counts).to(device, non_blocking=True)[:, None]


def silent_beyond(waveforms: Tensor, lengths: Sequence[int], size: int) -> Tensor:
    """Return waveforms (B, size) that are zero beyond each clip's length."""
    waveforms = waveforms[:, :size].float()
    waveforms = waveforms.masked_fill(~inside(lengths, waveforms.shape[1], waveforms.device), 0.0)
    return F.pad(waveforms, (0, size - waveforms.shape[1]))
