"""MFCC and spectral statistics by librosa: the handcrafted control that every backbone should beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.backbones.base import Backbone, BackboneOptions
from features.pooling import Frames
from features.spec import BackboneSpec

SAMPLE_RATE = 22_050
N_FFT = 2048
HOP_LENGTH = 512
N_MELS = 128
N_MFCC = 20
N_CONTRAST_BANDS = 6
# MFCC, their deltas; centroid, bandwidth, roll-off, flatness, zero crossings, RMS; contrast
DIM = 2 * N_MFCC + 6 + N_CONTRAST_BANDS + 1


class Options(BackboneOptions):
    """An entry of `features.backbones` for the handcrafted control; it has no weights."""


def summary(options: Any) -> dict[str, Any]:
    """What `audioheads backbones ls` shows."""
    return {
        "weights": "none",
        "sample_rate_hz": SAMPLE_RATE,
        "summary": f"{N_MFCC} MFCC, deltas, spectral statistics: {DIM}-d, handcrafted",
    }


def describe(options: Options) -> BackboneSpec:
    """The spec; nothing to find."""
    return BackboneSpec(
        name=options.name,
        family="mfcc",
        weights="none",
        weights_sha256="",
        sample_rate=SAMPLE_RATE,
        layers=(0,),
        dim=DIM,
        frame_rate=SAMPLE_RATE / HOP_LENGTH,
        min_duration_s=N_FFT / SAMPLE_RATE,
        max_duration_s=options.max_duration_s,
        settings={"n_fft": N_FFT, "hop_length": HOP_LENGTH, "n_mels": N_MELS, "n_mfcc": N_MFCC},
    )


def load(options: Options, spec: BackboneSpec, *, device: str, precision: str) -> MfccBackbone:
    """The transform; it runs on the CPU in float32 whatever `device` and `precision` say."""
    return MfccBackbone(spec)


class MfccBackbone(Backbone):
    """librosa features of each clip on its own, so padding cannot enter."""

    def __init__(self, spec: BackboneSpec) -> None:
        """Hold the spec."""
        self.spec = spec
        self.device = torch.device("cpu")

    @property
    def parameters(self) -> int:
        """None are learnt."""
        return 0

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; not differentiable."""
        clips = [describe_clip(w[:n].numpy()) for w, n in zip(waveforms, lengths.tolist(), strict=True)]
        counts = torch.tensor([len(clip) for clip in clips])
        values = torch.zeros(len(clips), 1, int(counts.max()), DIM)
        for row, clip in enumerate(clips):
            values[row, 0, : len(clip)] = torch.from_numpy(clip)
        return Frames(values, counts)


def describe_clip(samples: np.ndarray) -> np.ndarray:
    """Handcrafted features of one clip: (T,) at 22,050 Hz to (F, DIM) float32."""
    import librosa
    from librosa import feature

    magnitude = np.abs(librosa.stft(samples, n_fft=N_FFT, hop_length=HOP_LENGTH))  # [N_FFT // 2 + 1, F]
    mel = feature.melspectrogram(S=magnitude**2, sr=SAMPLE_RATE, n_mels=N_MELS)
    mfcc = feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=N_MFCC)
    centroid = feature.spectral_centroid(S=magnitude, sr=SAMPLE_RATE)
    rows = [
        mfcc,
        feature.delta(mfcc, mode="nearest"),
        centroid,
        feature.spectral_bandwidth(S=magnitude, sr=SAMPLE_RATE, centroid=centroid),
        feature.spectral_rolloff(S=magnitude, sr=SAMPLE_RATE),
        feature.spectral_flatness(S=magnitude),
        feature.zero_crossing_rate(samples, frame_length=N_FFT, hop_length=HOP_LENGTH),
        feature.rms(S=magnitude, frame_length=N_FFT),
        feature.spectral_contrast(S=magnitude, sr=SAMPLE_RATE, n_bands=N_CONTRAST_BANDS),
    ]
    return np.concatenate(rows).T.astype(np.float32)
