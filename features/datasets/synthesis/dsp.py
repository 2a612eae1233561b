"""Building blocks of synthetic sounds: pitches, partials, envelopes, clicks, bands.

The output of each function depends only on its arguments, including the state of the random generator. `sounds`
combines them into the classes of the dataset `synthetic`, and `recipes/nano` into clips for pretraining a small
backbone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]


def time_axis(n: int, sample_rate: int) -> Samples:
    """Return the time of each of n samples in seconds, shape (n,)."""
    return np.arange(n) / sample_rate


def pitch_hz(rng: np.random.Generator, low_hz: float, high_hz: float) -> float:
    """Draw a frequency in Hz, uniform in octaves."""
    return float(np.exp(rng.uniform(np.log(low_hz), np.log(high_hz))))


def phase_of(pitch: float, n: int, sample_rate: int, bend: Samples | float = 1.0) -> Samples:
    """Return the phase of a pitch (Hz) in radians, shape (n,); `bend` multiplies the pitch over time."""
    return 2 * np.pi * np.cumsum(np.broadcast_to(pitch * bend / sample_rate, n))


def harmonics(rng: np.random.Generator, phase: Samples, count: tuple[int, int]) -> Samples:
    """Return the sum of `count[0]` to `count[1]` partials of random strength; none is above half the sample rate."""
    step = float(np.diff(phase, prepend=0.0).max())
    partials = np.arange(1, rng.integers(*count, endpoint=True) + 1)
    strengths = rng.uniform(0.3, 1.0, partials.size) * partials ** -rng.uniform(0.3, 2.0)
    audible = partials * step < np.pi
    audible[0] = True
    return sum((a * np.sin(k * phase) for a, k in zip(strengths[audible], partials[audible], strict=True)), np.zeros(1))


def onsets(rng: np.random.Generator, n: int, sample_rate: int) -> NDArray[np.int64]:
    """Return the samples at which strokes start: sample 0, then a stroke every 0.25 to 2 s."""
    every = int(sample_rate / rng.uniform(0.5, 4.0))
    return np.arange(0, n, every)


def strokes(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Return an envelope that jumps up at every stroke and decays exponentially."""
    envelope = np.zeros(n)
    decay_s = rng.uniform(0.08, 0.5)
    for start in onsets(rng, n, sample_rate):
        envelope[start:] = np.maximum(envelope[start:], np.exp(-time_axis(n - start, sample_rate) / decay_s))
    return envelope


def ramps(rng: np.random.Generator, n: int) -> Samples:
    """Return one to six ramps from 0 to 1, shape (n,)."""
    return np.arange(n) * rng.integers(1, 7) / n % 1


def clicks(
    rng: np.random.Generator, starts: Samples, n: int, sample_rate: int, ring_hz: tuple[float, float]
) -> Samples:
    """Return damped ringing at each start, with random loudness."""
    from scipy.signal import fftconvolve

    impulses = np.zeros(n)
    impulses[starts.astype(int)] = rng.uniform(0.5, 1.0, starts.size)
    time = time_axis(max(1, int(0.05 * sample_rate)), sample_rate)
    ring = np.sin(2 * np.pi * pitch_hz(rng, *ring_hz) * time + 1.0) * np.exp(-time / rng.uniform(0.002, 0.015))
    return fftconvolve(impulses, ring)[:n]


def band_pass(rng: np.random.Generator, samples: Samples, sample_rate: int, centre_hz: tuple[float, float]) -> Samples:
    """Filter samples with a second-order band-pass, 0.6 to 1.6 octaves wide."""
    from scipy.signal import butter, sosfilt

    half = rng.uniform(0.3, 0.8)
    centre = min(pitch_hz(rng, *centre_hz), 0.3 * sample_rate)
    edges = np.clip([centre / 2**half, centre * 2**half], 20.0, 0.49 * sample_rate)
    return sosfilt(butter(2, edges, "bandpass", fs=sample_rate, output="sos"), samples)


def tilted(rng: np.random.Generator, samples: Samples, exponent: float) -> Samples:
    """Multiply the spectrum of samples by frequency**exponent, and scale to unit power."""
    from scipy.fft import next_fast_len

    size = next_fast_len(samples.size, real=True)
    spectrum = np.fft.rfft(samples, size)
    frequency = np.arange(1, spectrum.size + 1) / spectrum.size
    return unit_power(np.fft.irfft(spectrum * np.maximum(frequency, 0.005) ** exponent, size)[: samples.size])


def unit_power(samples: Samples) -> Samples:
    """Scale samples to a mean power of 1; silence stays silence."""
    return samples / max(float(np.sqrt(np.mean(samples**2))), 1e-9)
