"""MFCC and spectral statistics of clips, with librosa's definitions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from features.backbones.base import Backbone
from features.backbones.networks.mfcc_frontend import (
    DIM,
    HOP_LENGTH,
    N_CONTRAST_BANDS,
    N_FFT,
    N_MELS,
    N_MFCC,
    SAMPLE_RATE,
)
from features.pooling import Frames
from features.spec import BackboneSpec

CONTRAST_LOWEST_HZ = 200.0
CONTRAST_QUANTILE = 0.02
ROLLOFF = 0.85
SILENCE = 1e-10  # of a sample, for zero crossings
POWER_FLOOR = 1e-10


class MfccBackbone(Backbone):
    """librosa features, computed for each clip separately, without padding."""

    def __init__(self, spec: BackboneSpec) -> None:
        """Store the spec."""
        self.spec = spec
        self.device = torch.device("cpu")

    @property
    def parameters(self) -> int:
        """0: there are no parameters."""
        return 0

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; not differentiable."""
        samples = [waveform[:n].numpy() for waveform, n in zip(waveforms, lengths.tolist(), strict=True)]
        with ThreadPoolExecutor(torch.get_num_threads(), "mfcc") as pool:
            clips = list(pool.map(describe_clip, samples))
        counts = torch.tensor([len(clip) for clip in clips])
        values = torch.zeros(len(clips), 1, int(counts.max()), DIM)
        for row, clip in enumerate(clips):
            values[row, 0, : len(clip)] = torch.from_numpy(clip)
        return Frames(values, counts)


def describe_clip(samples: np.ndarray) -> np.ndarray:
    """Compute the handcrafted features of one clip: (T,) at 22,050 Hz to (F, DIM) float32.

    The features follow librosa's definitions, but share one spectrum whose bins are contiguous for each frame. No step
    holds Python's GIL for long, so several threads can process clips in parallel.
    """
    import librosa

    tables = _tables()
    padded = np.pad(samples, N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH] * tables.window  # [F, N_FFT]
    magnitude = np.abs(np.fft.rfft(frames, axis=1).astype(np.complex64))  # [F, bins]
    power = np.square(magnitude)
    mfcc = scipy.fft.dct(librosa.power_to_db(power @ tables.mel), axis=1, type=2, norm="ortho")[:, :N_MFCC]
    total, first, second = (magnitude.astype(np.float64) @ tables.powers).T  # sums of magnitude times 1, Hz and Hz²
    scale = np.where(total < np.finfo(np.float32).tiny, 1.0, total)
    centroid = first / scale
    spread = (second - 2 * centroid * first + centroid**2 * total) / scale
    columns = [
        mfcc,
        librosa.feature.delta(mfcc, axis=0, mode="nearest"),
        centroid,
        np.sqrt(np.maximum(spread, 0.0)),
        tables.hertz[_rolloff_bin(magnitude)],
        _flatness(power),
        _zero_crossing_rate(samples),
        np.sqrt(2 * (power.sum(axis=1) - 0.5 * (power[:, 0] + power[:, -1])) / N_FFT**2),
        _contrast(magnitude, tables.bands),
    ]
    return np.column_stack(columns).astype(np.float32)


@dataclass(frozen=True)
class _Tables:
    """Constants for all clips: window (N_FFT,), mel (bins, N_MELS), hertz (bins,), powers (bins, 3) and bands."""

    window: np.ndarray
    mel: np.ndarray
    hertz: np.ndarray
    powers: np.ndarray
    bands: tuple[tuple[int, int, int], ...]


@cache
def _tables() -> _Tables:
    from librosa import filters

    hertz = np.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE)
    return _Tables(
        window=filters.get_window("hann", N_FFT),  # float64, as librosa has it: empty bands would show float32's noise
        mel=np.ascontiguousarray(filters.mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS).T),
        hertz=hertz,
        powers=np.stack([np.ones_like(hertz), hertz, hertz**2], axis=1),
        bands=_contrast_bands(hertz),
    )


def _rolloff_bin(magnitude: np.ndarray) -> np.ndarray:
    """Return the bin of each frame below which 85 % of its magnitude is found."""
    running = np.cumsum(magnitude, axis=1)
    return np.argmax(running >= np.float32(ROLLOFF) * running[:, -1:], axis=1)


def _flatness(power: np.ndarray) -> np.ndarray:
    """Return the ratio of geometric to arithmetic mean of each frame's power."""
    floored = np.maximum(power, POWER_FLOOR)
    return np.exp(np.log(floored).mean(axis=1)) / floored.mean(axis=1)


def _zero_crossing_rate(samples: np.ndarray) -> np.ndarray:
    """Return the sign changes per sample in each frame; values near zero count as positive."""
    padded = np.pad(samples, N_FFT // 2, mode="edge")
    negative = padded < -SILENCE
    changes = np.concatenate([[0, 0], np.cumsum(negative[1:] != negative[:-1])])  # [at]: changes before sample at
    starts = np.arange(0, len(padded) - N_FFT + 1, HOP_LENGTH)
    return (changes[starts + N_FFT] - changes[starts + 1]) / N_FFT


def _contrast_bands(hertz: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """Return (first bin, last bin + 1, bins in a quantile) of each octave, with librosa's overlaps at the edges."""
    edges = [0.0, *(CONTRAST_LOWEST_HZ * 2.0**octave for octave in range(N_CONTRAST_BANDS + 1))]
    bands = []
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = np.flatnonzero((hertz >= low) & (hertz <= high))
        first, stop = int(inside[0]) - (number > 0), int(inside[-1]) + 1
        if number == N_CONTRAST_BANDS:
            stop = len(hertz)
        quantile = max(1, int(np.rint(CONTRAST_QUANTILE * (stop - first))))
        bands.append((first, stop - (number < N_CONTRAST_BANDS), quantile))
    return tuple(bands)


def _contrast(magnitude: np.ndarray, bands: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """Return the ratio of peaks to valleys of each octave in dB: (F, bins) to (F, N_CONTRAST_BANDS + 1)."""
    import librosa

    peaks, valleys = [], []
    for first, stop, quantile in bands:
        count = stop - first
        parted = np.partition(magnitude[:, first:stop], (quantile - 1, count - quantile), axis=1)
        valleys.append(parted[:, :quantile].mean(axis=1))
        peaks.append(parted[:, count - quantile :].mean(axis=1))
    return librosa.power_to_db(np.stack(peaks, axis=1)) - librosa.power_to_db(np.stack(valleys, axis=1))
