"""ECAPA-TDNN: log-mels through dilated convolutions and attentive pooling, one speaker embedding per clip."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.backbones.adapters.equal_length import UnpaddedBackbone
from features.spec import BackboneSpec

SAMPLE_RATE = 16_000
N_FFT, HOP_LENGTH, N_MELS = 400, 160, 80
POWER_FLOOR = 1e-10  # -100 dB
RANGE_DB = 80.0  # below the loudest value of a clip
FIRST_KERNEL, KERNEL = 5, 3
DILATIONS = (2, 3, 4)  # of the three blocks
RES2NET_SCALE = 8  # groups of channels, each of which gets the output of the one before
VARIANCE_FLOOR = 1e-12


def convolution(n_in: int, n_out: int, kernel_size: int = 1, dilation: int = 1) -> nn.Module:
    """Return a convolution over time, reflected at both ends, under the name that the publisher's wrapper gives it."""
    conv = nn.Conv1d(n_in, n_out, kernel_size, dilation=dilation, padding="same", padding_mode="reflect")
    return nn.Sequential(OrderedDict(conv=conv))


def normalisation(n_channels: int) -> nn.Module:
    """Return a batch normalisation under the name that the publisher's wrapper gives it."""
    return nn.Sequential(OrderedDict(norm=nn.BatchNorm1d(n_channels)))


def mel_bank() -> Tensor:
    """Return triangles (N_FFT // 2 + 1, N_MELS), each as wide above its centre as it is below."""
    highest = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, highest, N_MELS + 2) / 2595) - 1)  # Hz
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    distances = (frequencies[:, None] - edges[1:-1]) / edges.diff()[:-1]
    return (1 - distances.abs()).clamp(min=0)


def statistics(frames: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean and standard deviation over time: (B, C, F) to (B, C, 1) each."""
    mean = (weights * frames).sum(2, keepdim=True)
    variance = (weights * (frames - mean).square()).sum(2, keepdim=True)
    return mean, variance.clamp(min=VARIANCE_FLOOR).sqrt()


class TimeDelay(nn.Module):
    """A convolution over time that is rectified, then normalised."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int = 1, dilation: int = 1) -> None:
        """Make the layer with random weights."""
        super().__init__()
        self.conv, self.norm = convolution(n_in, n_out, kernel_size, dilation), normalisation(n_out)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, F) to (B, C', F)."""
        return self.norm(F.relu(self.conv(frames)))


class Res2Net(nn.Module):
    """Groups of channels: the first is kept, each other is convolved with the output of the one before added."""

    def __init__(self, n_channels: int, dilation: int) -> None:
        """Make the layers with random weights."""
        super().__init__()
        width = n_channels // RES2NET_SCALE
        self.blocks = nn.ModuleList(TimeDelay(width, width, KERNEL, dilation) for _ in range(RES2NET_SCALE - 1))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        kept, first, *others = frames.chunk(RES2NET_SCALE, dim=1)
        outputs = [kept, self.blocks[0](first)]
        for block, group in zip(list(self.blocks)[1:], others, strict=True):
            outputs.append(block(group + outputs[-1]))
        return torch.cat(outputs, dim=1)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a factor computed from the means of all channels."""

    def __init__(self, n_channels: int, bottleneck: int) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.conv1, self.conv2 = convolution(n_channels, bottleneck), convolution(bottleneck, n_channels)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        return frames * self.conv2(F.relu(self.conv1(frames.mean(2, keepdim=True)))).sigmoid()


class Block(nn.Module):
    """A residual block: convolution, Res2Net, convolution, squeeze and excitation."""

    def __init__(self, n_channels: int, bottleneck: int, dilation: int) -> None:
        """Make the block with random weights."""
        super().__init__()
        self.tdnn1, self.tdnn2 = TimeDelay(n_channels, n_channels), TimeDelay(n_channels, n_channels)
        self.res2net_block = Res2Net(n_channels, dilation)
        self.se_block = SqueezeExcitation(n_channels, bottleneck)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        return frames + self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(frames))))


class AttentivePooling(nn.Module):
    """Mean and standard deviation over time; each channel weights the frames by attention of its own."""

    def __init__(self, n_channels: int, bottleneck: int) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.tdnn, self.conv = TimeDelay(3 * n_channels, bottleneck), convolution(bottleneck, n_channels)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, F) to (B, 2 C, 1)."""
        mean, deviation = statistics(frames, frames.new_full((), 1 / frames.shape[2]))
        context = torch.cat([frames, mean.expand_as(frames), deviation.expand_as(frames)], dim=1)
        return torch.cat(statistics(frames, self.conv(self.tdnn(context).tanh()).softmax(2)), dim=1)


class EcapaTdnn(nn.Module):
    """The network with its front end, with the names of the published state dict."""

    bank: Tensor
    window: Tensor

    def __init__(self, channels: int, aggregated: int, bottleneck: int, dim: int) -> None:
        """Make the network with random weights.

        Args:
            channels: Channels of each block.
            aggregated: Channels after the outputs of all blocks are combined.
            bottleneck: Channels of the hidden layers of squeeze-and-excitation and attention.
            dim: D.
        """
        super().__init__()
        blocks = [Block(channels, bottleneck, dilation) for dilation in DILATIONS]
        self.blocks = nn.ModuleList([TimeDelay(N_MELS, channels, FIRST_KERNEL), *blocks])
        self.mfa = TimeDelay(len(blocks) * channels, aggregated)
        self.asp = AttentivePooling(aggregated, bottleneck)
        self.asp_bn = normalisation(2 * aggregated)
        self.fc = convolution(2 * aggregated, dim)
        self.register_buffer("bank", mel_bank(), persistent=False)  # [N_FFT // 2 + 1, N_MELS]
        self.register_buffer("window", torch.hamming_window(N_FFT), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Embed clips of equal length: (B, T) to (B, D)."""
        first, *blocks = self.blocks
        states = [first(self.log_mels(waveforms))]
        for block in blocks:
            states.append(block(states[-1]))
        pooled = self.asp(self.mfa(torch.cat(states[1:], dim=1)))  # [B, 2 C, 1]
        return self.fc(self.asp_bn(pooled))[:, :, 0]

    def log_mels(self, waveforms: Tensor) -> Tensor:
        """Return mel bands in decibels without their mean over time, at most 80 below each clip's loudest.

        Args:
            waveforms: Clips of equal length, (B, T).

        Returns:
            The bands, (B, M, F), F = 1 + T // HOP_LENGTH.
        """
        frames = F.pad(waveforms, (N_FFT // 2, N_FFT // 2)).unfold(1, N_FFT, HOP_LENGTH) * self.window  # [B, F, N_FFT]
        power = torch.fft.rfft(frames).abs().square() @ self.bank
        decibels = 10 * power.clamp(min=POWER_FLOOR).log10().transpose(1, 2)
        decibels = torch.maximum(decibels, decibels.amax((1, 2), keepdim=True) - RANGE_DB)
        return decibels - decibels.mean(2, keepdim=True)


class EcapaBackbone(UnpaddedBackbone):
    """One embedding per clip; clips of one length go through the network together."""

    def __init__(self, module: EcapaTdnn, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network."""
        self.spec = spec
        self.device = device
        self.module: EcapaTdnn = module.to(device)

    def embed_equal(self, waveforms: Tensor) -> Tensor:
        """See `UnpaddedBackbone.embed_equal`."""
        return self.module(waveforms.float())[:, None, None]
