"""The voice encoder of Resemblyzer: mel windows through an LSTM, all windows of a batch at once."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from features.backbones.base import Backbone
from features.pooling import Frames
from features.spec import BackboneSpec

SAMPLE_RATE = 16_000
N_FFT, HOP_LENGTH, N_MELS = 400, 160, 40
WINDOW_FRAMES = 160  # 1.6 s
STEP_FRAMES = 77  # the publisher's rate of 1.3 windows per second, in whole frames
LEAST_COVERAGE = 0.75  # of the last window by the clip; otherwise it is left out
TARGET_RMS = 10 ** (-30 / 20)  # quieter clips are raised to this level
HIDDEN_SIZE, N_LAYERS, DIM = 256, 3, 256
QUIETEST = 1e-30  # mean square; a clip of zeros stays silent
SMALLEST_NORM = 1e-12


class VoiceEncoder(nn.Module):
    """The network, with the names of the published state dict."""

    bank: Tensor
    window: Tensor

    def __init__(self) -> None:
        """Make the network with random weights."""
        from librosa.filters import mel

        super().__init__()
        self.lstm = nn.LSTM(N_MELS, HIDDEN_SIZE, N_LAYERS, batch_first=True)
        self.linear = nn.Linear(HIDDEN_SIZE, DIM)
        bank = mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS).T.copy()
        self.register_buffer("bank", torch.from_numpy(bank).float(), persistent=False)  # [N_FFT // 2 + 1, N_MELS]
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def forward(self, mels: Tensor) -> Tensor:
        """Embed windows of mel frames: (W, 160, 40) to (W, 256), not negative, of norm 1 (0 if all are 0)."""
        # cuDNN computes gradients of an LSTM in training mode only
        with torch.backends.cudnn.flags(enabled=False) if torch.is_grad_enabled() else nullcontext():
            _, (hidden, _) = self.lstm(mels)
        embedded = F.relu(self.linear(hidden[-1]))
        return embedded / embedded.norm(dim=1, keepdim=True).clamp(min=SMALLEST_NORM)

    def mel_spectrogram(self, waveforms: Tensor) -> Tensor:
        """Return mel powers, without a logarithm: (B, T) to (B, 1 + T // 160, 40), frames centred on their hop."""
        padded = F.pad(waveforms, (N_FFT // 2, N_FFT // 2))
        frames = padded.unfold(1, N_FFT, HOP_LENGTH) * self.window  # [B, F, N_FFT]
        return torch.fft.rfft(frames).abs().square() @ self.bank


class Ge2eBackbone(Backbone):
    """One embedding per window of 1.6 s, the last one completed with zeros or left out, as the publisher does.

    The level of a quiet clip is raised, which is the first step of the publisher's preprocessing. The second step, a
    detector of voices that cuts out everything else, is skipped: it would remove most of any other sound.
    """

    def __init__(self, module: VoiceEncoder, spec: BackboneSpec, device: torch.device) -> None:
        """Wrap a network."""
        self.spec = spec
        self.device = device
        self.module: VoiceEncoder = module.to(device)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`."""
        starts = [window_starts(length) for length in lengths.tolist()]
        needed = (max(clip[-1] for clip in starts) + WINDOW_FRAMES) * HOP_LENGTH
        samples = raise_level(waveforms.float(), lengths.to(waveforms.device, non_blocking=True))
        mels = self.module.mel_spectrogram(F.pad(samples, (0, max(0, needed - samples.shape[1]))))
        windows = [mels[row, start : start + WINDOW_FRAMES] for row, clip in enumerate(starts) for start in clip]
        counts = [len(clip) for clip in starts]
        embedded = self.module(torch.stack(windows)).split(counts)
        values = nn.utils.rnn.pad_sequence(list(embedded), batch_first=True)
        return Frames(values[:, None], torch.tensor(counts))


def window_starts(n_samples: int) -> list[int]:
    """Return the first mel frame of each window over a clip (`VoiceEncoder.compute_partial_slices` of Resemblyzer)."""
    n_frames = math.ceil((n_samples + 1) / HOP_LENGTH)
    starts = list(range(0, max(1, n_frames - WINDOW_FRAMES + STEP_FRAMES + 1), STEP_FRAMES))
    covered = (n_samples - starts[-1] * HOP_LENGTH) / (WINDOW_FRAMES * HOP_LENGTH)
    return starts[:-1] if covered < LEAST_COVERAGE and len(starts) > 1 else starts


def raise_level(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Scale clips that are quieter than −30 dB to this level, and set what follows each clip to zero.

    Args:
        waveforms: (B, T) float32.
        lengths: (B,) valid samples, on the same device.
    """
    inside = torch.arange(waveforms.shape[1], device=waveforms.device)[None] < lengths[:, None]
    waveforms = waveforms.masked_fill(~inside, 0.0)
    mean_square = waveforms.square().sum(1) / lengths
    gain = TARGET_RMS / mean_square.clamp(min=QUIETEST).sqrt()
    return waveforms * gain.clamp(min=1.0)[:, None]
