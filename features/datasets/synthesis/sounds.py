"""Families of synthetic sounds with random pitch, timbre and rhythm, and scenes that mix them with noise.

The same generator state always gives the same samples. Parameter ranges of the families overlap on purpose, so that
the long-term spectrum alone does not separate them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.datasets.synthesis.dsp import (
    Samples,
    band_pass,
    clicks,
    harmonics,
    onsets,
    phase_of,
    pitch_hz,
    ramps,
    strokes,
    tilted,
    time_axis,
    unit_power,
)

Sound = Callable[[np.random.Generator, int, int], Samples]

FADE_S = 0.005
QUIETEST_DB, LOUDEST_DB = -25.0, -1.0


def scene(
    rng: np.random.Generator, sound: Sound, n_samples: int, sample_rate: int, snr_db: tuple[float, float]
) -> NDArray[np.float32]:
    """Return one clip: a sound with a random onset in coloured background noise, at a random level.

    Args:
        rng: Source of all random draws.
        sound: One of `SOUNDS`.
        n_samples: Length of the clip.
        sample_rate: In Hz.
        snr_db: Range of the signal-to-noise ratio while the sound lasts, in dB; values near the upper end are more
            likely.

    Returns:
        Samples, shape `(n_samples,)`, with peaks below 1.
    """
    onset = int(n_samples * rng.uniform(0.0, 0.2))
    length = int((n_samples - onset) * rng.uniform(0.75, 1.0))
    dry = tilted(rng, unit_power(sound(rng, length, sample_rate)), rng.uniform(-0.2, 0.2))
    ramp = np.minimum(1.0, np.arange(length) / max(1.0, FADE_S * sample_rate))
    noise = tilted(rng, rng.standard_normal(n_samples), -rng.uniform(0.2, 0.5))
    ratio_db = snr_db[0] + (snr_db[1] - snr_db[0]) * np.sqrt(rng.random())
    mixed = noise * 10 ** (-ratio_db / 20)
    mixed[onset : onset + length] += dry * ramp * ramp[::-1]
    level = 10 ** (rng.uniform(QUIETEST_DB, LOUDEST_DB) / 20)
    return (level * mixed / np.abs(mixed).max()).astype(np.float32)


def struck_tone(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """A decaying harmonic tone, struck once or several times."""
    return harmonics(rng, phase_of(pitch_hz(rng, 300, 900), n, sample_rate), (1, 5)) * strokes(rng, n, sample_rate)


def sustained_tone(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """A harmonic tone held with a little vibrato."""
    rate, depth = rng.uniform(3, 8), rng.uniform(0.0, 0.02)
    vibrato = 1 + depth * np.sin(2 * np.pi * rate * time_axis(n, sample_rate))
    return harmonics(rng, phase_of(pitch_hz(rng, 150, 400), n, sample_rate, vibrato), (6, 12))


def plucked_string(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Plucked strings (Karplus and Strong, 1983): a noise burst in a lossy delay loop."""
    from scipy.signal import lfilter

    period = max(2, round(sample_rate / pitch_hz(rng, 100, 600)))
    loop = np.zeros(period + 2)
    loop[0], loop[period], loop[period + 1] = 1.0, *(-0.5 * rng.uniform(0.985, 0.9995) * np.ones(2))
    excitation = np.zeros(n)
    for start in onsets(rng, n, sample_rate):
        burst = excitation[start : start + period]
        burst += rng.standard_normal(burst.size)
    return lfilter([1.0], loop, excitation)


def fm_tone(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Frequency modulation at audio rate, with a ratio near a simple fraction (Chowning, 1973)."""
    pitch, ratio = pitch_hz(rng, 100, 400), rng.choice([1.0, 1.41, 2.0])
    deviation = rng.uniform(4.0, 9.0) * np.exp(-time_axis(n, sample_rate) * rng.uniform(0.2, 2.0))
    modulator = np.sin(2 * np.pi * pitch * ratio * time_axis(n, sample_rate))
    return np.sin(2 * np.pi * pitch * time_axis(n, sample_rate) + deviation * modulator)


def ring_modulation(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Two harmonic tones multiplied: inharmonic sums and differences."""
    sound = harmonics(rng, phase_of(pitch_hz(rng, 150, 600), n, sample_rate), (2, 6))
    return sound * np.sin(phase_of(pitch_hz(rng, 2000, 5000), n, sample_rate))


def chirp_up(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """One or more glides upward."""
    pitch, octaves = pitch_hz(rng, 900, 2500), rng.uniform(1.0, 2.0)
    return harmonics(rng, phase_of(pitch, n, sample_rate, np.exp2(octaves * ramps(rng, n))), (1, 2))


def chirp_down(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """One or more glides downward."""
    pitch, octaves = pitch_hz(rng, 500, 1500), rng.uniform(1.0, 3.0)
    return harmonics(rng, phase_of(pitch, n, sample_rate, np.exp2(-octaves * ramps(rng, n))), (2, 5))


def siren(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """A tone whose pitch swings smoothly up and down."""
    rate, octaves = rng.uniform(0.7, 6.0), rng.uniform(0.2, 0.6)
    swing = np.sin(2 * np.pi * (rate * time_axis(n, sample_rate) + rng.random()))
    return harmonics(rng, phase_of(pitch_hz(rng, 400, 1000), n, sample_rate, np.exp2(octaves * swing)), (5, 8))


def warble(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Two pitches in quick alternation, like an electronic telephone."""
    rate, octaves = rng.uniform(1.0, 5.0), rng.uniform(0.5, 1.2)
    high = (rate * time_axis(n, sample_rate) + rng.random()) % 1 < 0.5
    return harmonics(rng, phase_of(pitch_hz(rng, 800, 2000), n, sample_rate, np.exp2(octaves * high)), (2, 3))


def band_noise(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Steady band-pass noise."""
    return band_pass(rng, rng.standard_normal(n), sample_rate, (300, 1500))


def pulsing_noise(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Band-pass noise that swells and fades regularly."""
    rate, depth = rng.uniform(2.0, 10.0), rng.uniform(0.8, 1.0)
    swell = 1 - depth * (0.5 + 0.5 * np.sin(2 * np.pi * (rate * time_axis(n, sample_rate) + rng.random())))
    return band_pass(rng, rng.standard_normal(n), sample_rate, (1000, 5000)) * swell


def click_train(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Short damped clicks at equal intervals, too slow to have a pitch."""
    every = sample_rate / rng.uniform(6.0, 24.0)
    return clicks(rng, np.arange(rng.uniform(0, every), n, every), n, sample_rate, (300, 1500))


def crackle(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Short damped clicks at random times."""
    count = max(1, rng.poisson(rng.uniform(3.0, 12.0) * n / sample_rate))
    return clicks(rng, rng.uniform(0, n, count), n, sample_rate, (1000, 5000))


def pulse_train(rng: np.random.Generator, n: int, sample_rate: int) -> Samples:
    """Filtered pulses at a pitch, like a voiced sound or a motor."""
    from scipy.signal import lfilter

    phase = phase_of(pitch_hz(rng, 50, 200), n, sample_rate) / (2 * np.pi)
    return lfilter([1.0], [1.0, -rng.uniform(0.0, 0.6)], np.diff(np.floor(phase), prepend=0.0))


SOUNDS: dict[str, Sound] = {
    "struck_tone": struck_tone,
    "sustained_tone": sustained_tone,
    "plucked_string": plucked_string,
    "fm_tone": fm_tone,
    "ring_modulation": ring_modulation,
    "chirp_up": chirp_up,
    "chirp_down": chirp_down,
    "siren": siren,
    "warble": warble,
    "band_noise": band_noise,
    "pulsing_noise": pulsing_noise,
    "click_train": click_train,
    "crackle": crackle,
    "pulse_train": pulse_train,
}
