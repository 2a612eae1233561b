"""Synthetic clips for pretraining: layered events in a simulated recording, determined by a seed and a number."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from features.datasets.synthesis.dsp import Samples, pitch_hz, unit_power
from recipes.nano.events import EVENTS
from recipes.nano.shaping import curve, room, spectral_shape

SAMPLE_RATE = 16_000
VERSION = 2  # increased when the clip of a seed and a number changes
DOMAIN = 0x6E616E6F  # separates these generators from those of the dataset `synthetic`
TRAIN, HELD_OUT, PROBE = 0, 1, 2
_FAMILIES = [*EVENTS.values(), EVENTS["voice"]]  # voices twice as often, since half of the typical input is speech


def clip(seed: int, part: int, number: int, n: int, rendering: int = 0) -> NDArray[np.float32]:
    """Return one clip.

    Args:
        seed: Seed of the whole corpus.
        part: `TRAIN` or `HELD_OUT`.
        number: Number of the clip.
        n: Length in samples at 16 kHz.
        rendering: Clips that differ only in this number have the same events in different recordings.

    Returns:
        Samples, shape (n,), with peaks below 1.
    """
    what = np.random.default_rng([DOMAIN, seed, part, number])
    how = np.random.default_rng([DOMAIN, seed, part, number, 1 + rendering])
    mixed = np.zeros(n)
    for layer in range(int(what.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))):
        gain_db = 0.0 if layer == 0 else what.uniform(-18, 0)
        mixed += 10 ** (gain_db / 20) * unit_power(_event(what, how, n))
    return _recorded(how, mixed)


def rendered(family: str, seed: int, part: int, number: int, n: int, rendering: int = 0) -> NDArray[np.float32]:
    """Return one recording, shape (n,), of one event of a family; see `clip`."""
    what = np.random.default_rng([DOMAIN, seed, part, number])
    how = np.random.default_rng([DOMAIN, seed, part, number, 1 + rendering])
    return _recorded(how, unit_power(EVENTS[family](what, how, n, SAMPLE_RATE)))


def _event(what: Generator, how: Generator, n: int) -> Samples:
    """Return one event at a random position in n samples, with its envelope, spectrum and possible repetitions."""
    family = _FAMILIES[what.integers(len(_FAMILIES))]
    length = int(n * (1.0 if what.random() < 0.4 else what.uniform(0.1, 1)))
    sound = unit_power(family(what, how, length, SAMPLE_RATE))
    if what.random() < 0.4:
        sound = spectral_shape(what, sound, SAMPLE_RATE, 9.0)
    if what.random() < 0.25:
        sound = np.tanh(what.uniform(0.5, 8) * unit_power(sound))
    sound = sound * _envelope(what, length)
    out = np.zeros(n)
    start = int(how.integers(0, n - length + 1))
    out[start : start + length] = sound
    if length < n // 2 and what.random() < 0.5:
        every = int(length * what.uniform(1.0, 2.5))
        for again in range(start + every, n - length + 1, max(every, n // 8)):
            out[again : again + length] += sound * np.exp(how.normal(0, 0.2))
    return out


def _envelope(what: Generator, n: int) -> Samples:
    """Draw an envelope: attack, a decaying, varying or steady part, and release."""
    attack = max(1, int(n * what.uniform(0.001, 0.15)))
    ramp = np.minimum(1.0, np.arange(n) / attack)
    kind = what.random()
    if kind < 0.35:
        shape = np.exp(-what.uniform(1, 9) * np.arange(n) / n)
    elif kind < 0.6:
        shape = 0.1 + curve(what, n, what.uniform(1, 10))
    else:
        shape = np.ones(n)
    release = max(1, int(n * what.uniform(0.005, 0.2)))
    return ramp * shape * np.minimum(1.0, np.arange(n)[::-1] / release)


def _recorded(how: Generator, mixed: Samples) -> NDArray[np.float32]:
    """Simulate a recording of a sound: room, background noise, microphone, limited bandwidth, level."""
    n = mixed.size
    if how.random() < 0.4:
        mixed = room(how, mixed, SAMPLE_RATE)
    if how.random() < 0.8:
        noise = unit_power(spectral_shape(how, how.standard_normal(n), SAMPLE_RATE))
        mixed = unit_power(mixed) + 10 ** (how.uniform(-60, -3) / 20) * noise
    if how.random() < 0.3:
        mixed = spectral_shape(how, mixed, SAMPLE_RATE, 6.0)
    if how.random() < 0.2:
        mixed = _band_limited(mixed, pitch_hz(how, 2500, 7500))
    level = 10 ** (how.uniform(-30, -0.5) / 20)
    return (level * mixed / max(np.abs(mixed).max(), 1e-9)).astype(np.float32)


def _band_limited(samples: Samples, edge_hz: float) -> Samples:
    """Remove everything above a frequency, as in recordings that once had a lower sample rate."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(samples.size, 1 / SAMPLE_RATE) > edge_hz] = 0
    return np.fft.irfft(spectrum, samples.size)
