"""Functions shared by events and recordings: smooth curves, resonators, random spectra, rooms."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.signal import fftconvolve

from features.datasets.synthesis.dsp import Samples, pitch_hz, time_axis


def curve(rng: Generator, n: int, knots_per_clip: float) -> Samples:
    """Return a random piecewise linear curve in 0…1, shape (n,), with about `knots_per_clip` turns."""
    knots = max(2, round(knots_per_clip) + 2)
    return np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.random(knots))


def resonator(centre_hz: float, width: float, sample_rate: int) -> tuple[Samples, Samples]:
    """Return the coefficients b, a of a second-order resonance; `width` is the bandwidth relative to the centre."""
    radius = np.exp(-np.pi * width * centre_hz / sample_rate)
    a = np.array([1.0, -2 * radius * np.cos(2 * np.pi * centre_hz / sample_rate), radius**2])
    return np.array([1 - radius, 0.0, 0.0]), a


def spectral_shape(rng: Generator, samples: Samples, sample_rate: int, spread_db: float = 18.0) -> Samples:
    """Filter samples with a random smooth spectrum, often with a roll-off on one or both sides."""
    spectrum = np.fft.rfft(samples)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(samples.size, 1 / sample_rate), 20.0) / 20.0)
    knots = np.linspace(0, octaves[-1], 8)
    gain_db = np.interp(octaves, knots, rng.normal(0, spread_db / 2, 8) - rng.uniform(-1, 4) * knots)
    for side in (1, -1):
        if rng.random() < 0.5:
            edge = rng.uniform(0.5, octaves[-1] - 0.5)
            gain_db -= rng.uniform(6, 48) * np.maximum(0, side * (octaves - edge))
    return np.fft.irfft(spectrum * 10 ** (np.clip(gain_db - gain_db.max(), -90, 0) / 20), samples.size)


def room(rng: Generator, samples: Samples, sample_rate: int) -> Samples:
    """Add the reverberation of a synthetic room (exponentially decaying noise) to samples."""
    seconds = pitch_hz(rng, 0.05, 1.2)
    tail = rng.standard_normal(int(min(1.0, seconds) * sample_rate))
    tail *= np.exp(-6.9 * time_axis(tail.size, sample_rate) / seconds)
    tail[: max(1, int(rng.uniform(0.001, 0.02) * sample_rate))] *= 0.1
    wet = fftconvolve(samples, tail / np.sqrt(np.sum(tail**2)))[: samples.size]
    return samples + rng.uniform(0.05, 0.8) * wet
