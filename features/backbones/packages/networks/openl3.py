"""OpenL3: one-second windows of a spectrogram through eight convolutions, one embedding per window."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.backbones.base import Backbone
from features.pooling import Frames
from features.spec import BackboneSpec

SAMPLE_RATE = 48_000
WINDOW_SAMPLES = 48_000
HOP_LENGTH = 242
POWER_FLOOR = 1e-20  # of the power; the publisher limits the magnitude, to -100 dB
RANGE_DB = 80.0  # below the loudest value of the window
BATCH_NORM_EPSILON = 1e-3
CHANNELS = (64, 64, 128, 128, 256, 256, 512, 512)
POOLED = (2, 4, 6)  # numbers of the convolutions that are followed by a pooling
WINDOWS_AT_ONCE = 16  # windows overlap, so a batch has many times the samples of its clips
# representation -> length of the transform, number of mel bands or 0, rows of the last maps
REPRESENTATIONS = {"linear": (512, 0, 32), "mel128": (2048, 128, 16), "mel256": (2048, 256, 32)}
COLUMNS = 24  # of the last maps
POOLINGS = {512: (1, 1), 6144: (4, 3)}  # parts of the rows and columns of the last maps


class Spectrogram(nn.Module):
    """Decibels of the magnitude below the loudest value of each window, as kapre 0.1.4 computes them.

    The values go down to 1e-8 of the loudest magnitude, below the rounding errors of a Fourier transform in float32.
    All arithmetic is therefore in float64, so that a window's values do not depend on the machine. It has no gradient.
    """

    window: Tensor
    mel_basis: Tensor

    def __init__(self, n_fft: int, n_mels: int) -> None:
        """Make the transform; without mel bands, only whole frames inside the window are used."""
        super().__init__()
        self.n_fft, self.n_mels = n_fft, n_mels
        self.register_buffer("window", torch.hann_window(n_fft, dtype=torch.float64), persistent=False)
        if n_mels:
            from librosa.filters import mel

            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Empty filters detected")  # the narrowest bands
                basis = mel(sr=SAMPLE_RATE, n_fft=n_fft, n_mels=n_mels, htk=True, norm=1)
            self.register_buffer("mel_basis", torch.from_numpy(basis))  # replaced by that of the published file

    @torch.no_grad()
    def forward(self, windows: Tensor) -> Tensor:
        """(W, 48000) to (W, bands, frames) float32."""
        if self.n_mels:
            padding = self.n_fft - WINDOW_SAMPLES % HOP_LENGTH
            windows = F.pad(windows, (padding // 2, padding - padding // 2))
        frames = windows.unfold(1, self.n_fft, HOP_LENGTH) * self.window  # [W, frames, n_fft]
        power = torch.fft.rfft(frames).abs().square().transpose(1, 2)
        if self.n_mels:
            power = self.mel_basis.double() @ power
        decibels = 5 * power.clamp(min=POWER_FLOOR).log10()  # 10 log10 of the root
        return (decibels - decibels.amax((1, 2), keepdim=True)).clamp(min=-RANGE_DB).float()


class OpenL3(nn.Module):
    """The audio network, with the names of torchopenl3's state dict."""

    def __init__(self, representation: str, dim: int, channels: Sequence[int] = CHANNELS) -> None:
        """Make the network with random weights.

        Args:
            representation: One of `REPRESENTATIONS`.
            dim: Dimension of an embedding with `CHANNELS`, one of `POOLINGS`.
            channels: Channels of the eight convolutions.
        """
        super().__init__()
        n_fft, n_mels, rows = REPRESENTATIONS[representation]
        self.speclayer = Spectrogram(n_fft, n_mels)
        self.pooling = (rows // POOLINGS[dim][0], COLUMNS // POOLINGS[dim][1])
        self.names = [*(f"conv2d_{number}" for number in range(1, len(channels))), "audio_embedding_layer"]
        inputs = (1, *channels)
        for number, name in enumerate(self.names, start=1):
            n_in = inputs[number - 1]
            self.add_module(f"batch_normalization_{number}", nn.BatchNorm2d(n_in, eps=BATCH_NORM_EPSILON))
            self.add_module(name, nn.Conv2d(n_in, inputs[number], 3, padding=1))

    def forward(self, windows: Tensor) -> Tensor:
        """Embed windows: (W, 48000) to (W, D)."""
        maps = self.speclayer(windows)[:, None]  # [W, 1, bands, frames]
        for number, name in enumerate(self.names, start=1):
            maps = self.get_submodule(f"batch_normalization_{number}")(maps)
            if number > 1:
                maps = F.relu(maps)
            if number - 1 in POOLED:
                maps = F.max_pool2d(maps, 2)
            maps = self.get_submodule(name)(maps)
        return F.max_pool2d(maps, self.pooling).permute(0, 2, 3, 1).flatten(1)


class OpenL3Backbone(Backbone):
    """One embedding per window of 1 s; windows are centred on their times, the first at the start of the clip."""

    def __init__(self, module: OpenL3, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network."""
        self.spec = spec
        self.device = device
        self.module: OpenL3 = module.to(device)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`."""
        hop = self.spec.settings["hop_samples"]
        rows = zip(waveforms.float(), lengths.tolist(), strict=True)
        clips = [centred_windows(waveform[:length], hop) for waveform, length in rows]
        counts = [len(windows) for windows in clips]
        chunks = torch.cat(clips).split(WINDOWS_AT_ONCE)
        embedded = torch.cat([self.module(chunk) for chunk in chunks]).split(counts)
        values = nn.utils.rnn.pad_sequence(list(embedded), batch_first=True)
        return Frames(values[:, None], torch.tensor(counts))


def centred_windows(clip: Tensor, hop: int) -> Tensor:
    """Return the windows (W, 48000) of a clip (T,): half a window of zeros first, and zeros after its end."""
    beyond = max(0, len(clip) - WINDOW_SAMPLES // 2)
    needed = -(-beyond // hop) * hop + WINDOW_SAMPLES // 2
    return F.pad(clip, (WINDOW_SAMPLES // 2, needed - len(clip))).unfold(0, WINDOW_SAMPLES, hop)
