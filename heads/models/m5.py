"""M5, a deep convolutional network on raw waveforms (Dai et al. 2016, arXiv:1610.00087)."""

from __future__ import annotations

from torch import Tensor, nn

from heads.models.options import M5Options

FIRST_KERNEL, FIRST_STRIDE = 80, 4
KERNEL = 3
POOL = 4


class M5(nn.Module):
    """Four blocks of convolution, batch norm, ReLU and max-pool; global average; linear.

    ReLU is applied after pooling, which gives the same values and processes only a quarter of them.
    """

    def __init__(self, channels: list[int], n_classes: int) -> None:
        """Build the layers; the first convolution spans 10 ms at 8 kHz."""
        super().__init__()
        blocks: list[nn.Module] = []
        before = 1
        for number, width in enumerate(channels):
            kernel, stride = (FIRST_KERNEL, FIRST_STRIDE) if number == 0 else (KERNEL, 1)
            convolution = nn.Conv1d(before, width, kernel, stride)
            blocks += [convolution, nn.BatchNorm1d(width), nn.MaxPool1d(POOL), nn.ReLU(inplace=True)]
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.output = nn.Linear(before, n_classes)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Map waveforms (B, T, 1) to logits (B, C)."""
        return self.output(self.blocks(inputs.transpose(1, 2)).mean(dim=2))


def min_samples() -> int:
    """Return the length of the shortest waveform that yields one output frame, in samples."""
    length = 1
    for _ in range(3):
        length = length * POOL + KERNEL - 1
    return (length * POOL - 1) * FIRST_STRIDE + FIRST_KERNEL


def build(options: M5Options, dim: int, n_classes: int) -> M5:
    """Build the network of a config entry."""
    return M5(options.channels, n_classes)
