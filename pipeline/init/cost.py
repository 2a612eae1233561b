"""Estimate how long embedding takes on this machine, from a measurement of about one second."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from features.backbones.family import Candidate

MEASURED_S = 0.3  # duration of the matrix product benchmark
SIZE = 768  # matrix size, as in a base-sized transformer
REACHED = 0.4  # fraction of that rate reached by a whole network, including reading and pooling
READING = 0.004  # seconds to decode and resample one second of audio on one core


@dataclass(frozen=True)
class Speed:
    """Measured speed of this machine.

    Attributes:
        device: The torch device.
        gflop_per_s: Rate of fp32 matrix products.
        mfcc_s: Seconds that `mfcc` takes for one second of audio.
    """

    device: str
    gflop_per_s: float
    mfcc_s: float

    def minutes(self, candidate: Candidate, audio_s: float) -> float:
        """Return the approximate minutes to embed this much audio."""
        if candidate.gflop_per_s is None:
            return audio_s * self.mfcc_s / 60
        return audio_s * (candidate.gflop_per_s / (REACHED * self.gflop_per_s) + READING) / 60


def measure(device: str) -> Speed:
    """Time matrix products on a device and `mfcc` on the CPU."""
    return Speed(device, _products(device), _mfcc())


def _products(device: str) -> float:
    import torch

    matrix = torch.ones((SIZE, SIZE), device=device)

    def product() -> None:
        (matrix @ matrix)[0, 0].item()  # waits for the device

    product()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < MEASURED_S:
        product()
        count += 1
    return 2 * SIZE**3 * count / (time.perf_counter() - began) / 1e9


def _mfcc() -> float:
    from features.backbones import load

    backbone = load({"name": "mfcc"})
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 4 * backbone.spec.sample_rate).astype(np.float32)
    backbone.embed([noise])  # warm up: imports and compiles at first use
    began = time.perf_counter()
    backbone.embed([noise])
    return (time.perf_counter() - began) / 4


def minutes_text(minutes: float) -> str:
    """Format minutes as `under a minute`, `about 12 minutes` or `about 3 hours`."""
    if minutes < 1:
        return "under a minute"
    if minutes < 100:
        return f"about {minutes:.0f} minute{'' if round(minutes) == 1 else 's'}"
    return f"about {minutes / 60:.0f} hours"
