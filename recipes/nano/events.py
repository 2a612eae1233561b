"""Families of sound events for pretraining; none is a class of the dataset `synthetic`.

Each function takes two generators. `what` draws the parameters that define the event. `how` draws what differs between
two renderings of it: noise, phases, small irregularities. The same states give the same samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from scipy.signal import fftconvolve, lfilter

from features.datasets.synthesis.dsp import Samples, phase_of, pitch_hz, time_axis, unit_power
from recipes.nano.shaping import curve, resonator, spectral_shape

Event = Callable[[Generator, Generator, int, int], Samples]

VOWELS_HZ = np.array(  # first three formants, rounded from Peterson and Barney (1952)
    [[270, 2290, 3010], [390, 1990, 2550], [530, 1840, 2480], [660, 1720, 2410], [730, 1090, 2440],
     [570, 840, 2410], [440, 1020, 2240], [300, 870, 2240], [640, 1190, 2390], [490, 1350, 1690]]
)  # fmt: skip


def partials(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """Partials with a glide, vibrato and inharmonicity, each with its own decay."""
    pitch = pitch_hz(what, 60, 2000)
    octaves = what.normal(0, 0.5) * (what.random() < 0.5)
    vibrato = what.uniform(0, 0.03) * np.sin(2 * np.pi * what.uniform(2, 9) * time_axis(n, sample_rate) + how.random())
    bend = np.exp2(octaves * np.linspace(0, 1, n) ** what.uniform(0.5, 2)) * (1 + vibrato)
    base = phase_of(pitch, n, sample_rate, bend)
    stretch = what.exponential(0.002) if what.random() < 0.6 else what.exponential(0.1)
    count, tilt, odd = int(what.integers(1, 24)), what.uniform(0.2, 2.2), what.random() < 0.2
    seconds = time_axis(n, sample_rate)
    decay = what.uniform(0, 4) if what.random() < 0.5 else 0.0
    sound = np.zeros(n)
    for number in range(1, count + 1):
        ratio = number * np.sqrt(1 + stretch * number**2)
        strength = what.uniform(0.2, 1) * number**-tilt * (0.05 if odd and number % 2 == 0 else 1)
        if ratio * pitch * bend.max() < 0.48 * sample_rate:
            envelope = np.exp(-decay * np.sqrt(number) * seconds) if decay else 1.0
            sound += strength * envelope * np.sin(ratio * base + how.uniform(0, 2 * np.pi))
    return sound


def modulated(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """Frequency modulation with any ratio and a varying index (Chowning, 1973)."""
    pitch, ratio = pitch_hz(what, 60, 1500), np.exp(what.uniform(-1.6, 1.6))
    index = what.uniform(0.3, 10) * curve(what, n, what.uniform(1, 6))
    modulator = np.sin(phase_of(pitch * ratio, n, sample_rate) + how.random())
    return np.sin(phase_of(pitch, n, sample_rate) + index * modulator)


def shaped_noise(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """Noise with a random spectrum that may fade into another one."""
    first = spectral_shape(what, how.standard_normal(n), sample_rate)
    if what.random() < 0.5:
        return first
    blend = curve(what, n, what.uniform(0.5, 4))
    return first * blend + spectral_shape(what, how.standard_normal(n), sample_rate) * (1 - blend)


def swept_noise(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """Noise through a resonance with a varying centre frequency, like wind or surf."""
    block = sample_rate // 50
    centres = pitch_hz(what, 150, 3000) * np.exp2(what.uniform(0.2, 2) * (2 * curve(what, n, what.uniform(0.3, 3)) - 1))
    width = what.uniform(0.05, 0.6)
    noise, out, state = how.standard_normal(n), np.empty(n), np.zeros(2)
    for start in range(0, n, block):
        b, a = resonator(min(centres[start], 0.45 * sample_rate), width, sample_rate)
        out[start : start + block], state = lfilter(b, a, noise[start : start + block], zi=state)
    return out


def beaten_noise(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """Noise with modulated loudness, from slow swells to roughness."""
    rate, depth, sharp = pitch_hz(what, 0.7, 120), what.uniform(0.4, 1), pitch_hz(what, 0.3, 8)
    swell = (0.5 + 0.5 * np.sin(2 * np.pi * (rate * time_axis(n, sample_rate) + how.random()))) ** sharp
    return spectral_shape(what, how.standard_normal(n), sample_rate) * (1 - depth + depth * swell)


def ringing_clicks(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """Clicks at regular or random times that excite a few modes."""
    rate = pitch_hz(what, 1, 60)
    if what.random() < 0.5:
        starts = np.arange(how.random(), n * rate / sample_rate) / rate * sample_rate
        starts = starts + how.normal(0, what.exponential(0.02) * sample_rate / rate, starts.size)
    else:
        starts = how.uniform(0, n, max(1, how.poisson(rate * n / sample_rate)))
    impulses = np.zeros(n)
    loudness = np.exp(how.normal(0, what.uniform(0, 1.2), starts.size))
    np.add.at(impulses, np.clip(starts, 0, n - 1).astype(int), loudness)
    return fftconvolve(impulses, _modes(what, int(0.25 * sample_rate), sample_rate))[:n]


def struck_object(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """One or a few strokes on an object with many modes: bars, plates, bottles."""
    every = int(sample_rate * pitch_hz(what, 0.15, 2.5))
    impulses = np.zeros(n)
    starts = np.arange(int(how.uniform(0, 0.3) * min(every, n)), n, every)
    impulses[starts] = np.exp(how.normal(0, 0.3, starts.size))
    contact = how.standard_normal(max(2, int(what.uniform(0.0002, 0.01) * sample_rate)))
    return fftconvolve(fftconvolve(impulses, contact)[:n], _modes(what, n, sample_rate, longest_s=1.2))[:n]


def grains(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """A dense texture of very short sounds of a few pitches: drops, rustling, frying."""
    kinds, density = int(what.integers(2, 7)), pitch_hz(what, 30, 1500)
    low, octaves, longest_s = pitch_hz(what, 300, 3000), what.uniform(0.3, 2.5), pitch_hz(what, 0.001, 0.03)
    sound = np.zeros(n)
    for _ in range(kinds):
        impulses = np.zeros(n)
        count = max(1, how.poisson(density / kinds * n / sample_rate))
        np.add.at(impulses, how.integers(0, n, count), how.standard_normal(count) * how.exponential(1, count))
        frequency = min(low * np.exp2(what.uniform(0, octaves)), 0.45 * sample_rate)
        seconds = time_axis(max(2, int(4 * longest_s * sample_rate)), sample_rate)
        rise = what.uniform(0, 1) * frequency * seconds
        grain = np.sin(2 * np.pi * seconds * (frequency + rise)) * np.exp(-seconds / (longest_s * what.uniform(0.2, 1)))
        sound += fftconvolve(impulses, grain)[:n]
    return sound


def pluck(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """One or several plucked strings (Karplus and Strong, 1983) with a pick position."""
    sound = np.zeros(n)
    for _ in range(int(what.integers(1, 5))):
        period = max(4, round(sample_rate / pitch_hz(what, 60, 1200)))
        loop = np.zeros(period + 2)
        loop[0], loop[period], loop[period + 1] = 1.0, *(-0.5 * what.uniform(0.97, 0.9995) * np.ones(2))
        burst = np.zeros(n)
        start = int(what.uniform(0, 0.5) * n)
        length = min(period, n - start)
        burst[start : start + length] = how.uniform(-1, 1, length)
        pick = max(1, int(what.uniform(0.05, 0.5) * period))
        burst[pick:] -= what.uniform(0, 0.9) * burst[:-pick]
        sound += lfilter([1.0], loop, burst)
    return sound


def voice(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """Syllables: glottal pulses through formants that move between vowels, with hisses as consonants.

    The sequence of vowels and consonants belongs to the event. Vocal tract length and pitch differ between renderings.
    """
    tract, pitch = how.uniform(0.85, 1.35), pitch_hz(how, 70, 400)
    rate, hiss = what.uniform(1.5, 7), what.uniform(0, 1)
    count = max(1, round(rate * n / sample_rate))
    targets = VOWELS_HZ[what.integers(0, len(VOWELS_HZ), count + 1)] * tract
    melody = pitch * np.exp2(what.normal(0, 0.25, count + 2))
    position = np.linspace(0, count, n)
    contour = np.interp(position, np.arange(count + 2), melody) * (1 + 0.01 * how.standard_normal())
    phase = phase_of(1.0, n, sample_rate, contour) / (2 * np.pi)
    pulses = np.diff(np.floor(phase + how.random()), prepend=0.0)
    source = lfilter([1.0], [1.0, -what.uniform(0.8, 0.97)], pulses) + what.uniform(0, 0.05) * how.standard_normal(n)
    within = position % 1
    opened = np.clip(np.minimum(within, 1 - within) * what.uniform(3, 12), 0, 1) if what.random() < 0.8 else np.ones(n)
    spoken = np.zeros(n)
    states = [np.zeros(2) for _ in range(3)]
    block = sample_rate // 100
    driven = source * opened
    for start in range(0, n, block):
        at = position[start]
        formants = targets[int(at)] + (targets[min(int(at) + 1, count)] - targets[int(at)]) * (at % 1)
        filtered = driven[start : start + block]
        for number, formant in enumerate(formants):
            b, a = resonator(min(formant, 0.45 * sample_rate), 0.06 + 0.02 * number, sample_rate)
            filtered, states[number] = lfilter(b, a, filtered, zi=states[number])
        spoken[start : start + block] = filtered
    spoken = unit_power(spoken)
    if hiss > 0.4:
        consonants = np.repeat(what.random(count) < hiss, int(np.ceil(n / count)))[:n]
        noise = unit_power(spectral_shape(what, how.standard_normal(n), sample_rate))
        spoken += hiss * noise * consonants * (within < what.uniform(0.1, 0.4))
    return spoken


def engine(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """Uneven pulses at a low rate through resonances, with noise: motors, purrs, rattles."""
    rate = pitch_hz(what, 8, 150)
    jitter = what.exponential(0.02) * curve(how, n, 20)
    bend = np.exp2(what.normal(0, 0.4) * np.linspace(0, 1, n)) * (1 + jitter)
    phase = phase_of(rate, n, sample_rate, bend) / (2 * np.pi)
    cycle = int(what.integers(1, 7))
    strengths = what.uniform(0.3, 1, cycle)
    firing = np.diff(np.floor(phase), prepend=0.0) * strengths[np.floor(phase).astype(int) % cycle]
    driven = firing + what.uniform(0, 0.3) * how.standard_normal(n) * (0.3 + 0.7 * (phase % 1) ** what.uniform(0, 4))
    for _ in range(int(what.integers(1, 5))):
        b, a = resonator(pitch_hz(what, 60, 5000), what.uniform(0.03, 0.6), sample_rate)
        driven = driven + unit_power(lfilter(b, a, driven)) * what.uniform(0.2, 2)
    return driven


def calls(what: Generator, how: Generator, n: int, sample_rate: int) -> Samples:
    """Repeated short tonal calls with a pitch contour: birds, insects, barks, alarms."""
    length = int(sample_rate * pitch_hz(what, 0.02, 0.5))
    gap = int(length * pitch_hz(what, 0.1, 4))
    pitch, octaves = pitch_hz(what, 200, 5000), what.uniform(0, 1.5)
    shape = np.exp2(octaves * (2 * curve(what, length, what.uniform(1, 8)) - 1))
    edge = np.sin(np.pi * np.linspace(0, 1, length)) ** what.uniform(0.3, 2)
    strengths = what.uniform(0, 1, int(what.integers(1, 6))) ** 2
    strengths[0] = 1
    rough = what.uniform(0, 1) ** 3 * 2
    sound = np.zeros(n)
    rest = how.integers(0, max(1, gap))
    for start in range(rest, n, length + gap):
        phase = phase_of(min(pitch, 0.4 * sample_rate) * np.exp2(how.normal(0, 0.03)), length, sample_rate, shape)
        call = sum(
            (strength * np.sin(number * phase + rough * how.standard_normal(length)))
            for number, strength in enumerate(strengths, 1)
            if number * pitch * shape.max() < 0.48 * sample_rate or number == 1
        )
        scaled = edge * call * np.exp(how.normal(0, 0.2))
        sound[start : start + length] += scaled[: n - start]
    return sound


def _modes(what: Generator, n: int, sample_rate: int, longest_s: float = 0.15) -> Samples:
    """Return the impulse response of an object with a few damped modes, shape (n,)."""
    count = int(what.integers(1, 12))
    base, spread = pitch_hz(what, 80, 4000), what.uniform(0.3, 3)
    frequencies = np.minimum(base * np.exp2(np.r_[0, np.sort(what.uniform(0, spread, count - 1))]), 0.48 * sample_rate)
    decays = longest_s * what.uniform(0.02, 1) * (frequencies / base) ** -what.uniform(0, 1.5)
    seconds = time_axis(n, sample_rate)
    response = np.zeros(n)
    for frequency, decay, strength in zip(frequencies, decays, what.uniform(0.1, 1, count), strict=True):
        ringing = min(n, max(2, int(8 * decay * sample_rate)))
        wave = np.sin(2 * np.pi * frequency * seconds[:ringing]) * np.exp(-seconds[:ringing] / decay)
        response[:ringing] += strength * wave
    return response


EVENTS: dict[str, Event] = {
    "partials": partials,
    "modulated": modulated,
    "shaped_noise": shaped_noise,
    "swept_noise": swept_noise,
    "beaten_noise": beaten_noise,
    "ringing_clicks": ringing_clicks,
    "struck_object": struck_object,
    "grains": grains,
    "pluck": pluck,
    "voice": voice,
    "engine": engine,
    "calls": calls,
}
