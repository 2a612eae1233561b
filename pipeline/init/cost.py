"""Estimate how long embedding takes on this machine, from a measurement of about one second."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import numpy as np

from features.backbones.family import Candidate
from features.backbones.networks.mfcc_frontend import HOP_LENGTH, N_FFT, N_MELS, SAMPLE_RATE

MEASURED_S = 0.3  # duration of the matrix product benchmark
SIZE = 768  # matrix size, as in a base-sized transformer
REACHED = 0.4  # fraction of that rate reached by a whole network, including reading and pooling
MFCC_WORK = 4.0  # time of `mfcc`, as a multiple of that of mel spectra in numpy
GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg", "/dev/dri/renderD128")
READING = 0.004  # seconds to decode and resample one second of audio on one core


@dataclass(frozen=True)
class Speed:
    """Measured speed of this machine.

    Attributes:
        device: The torch device.
        gflop_per_s: Rate of fp32 matrix products.
        mfcc_s: Estimated seconds that `mfcc` takes for one second of audio.
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
    """Time matrix products on a device, and mel spectra on the CPU."""
    return Speed(device, _products(device), _mfcc())


def device_to_use(device: str) -> str:
    """Resolve `auto`. Torch, whose import takes longer than all the rest, is imported only if a GPU may be there."""
    if device == "cpu" or (device == "auto" and sys.platform == "linux" and not any(map(os.path.exists, GPU_FILES))):
        return "cpu"
    from pipeline.stages.features import resolve_device

    return resolve_device(device)


def _products(device: str) -> float:
    """Return the rate of matrix products in GFLOP/s."""
    if device == "cpu":
        matrix = np.ones((SIZE, SIZE), np.float32)

        def product() -> None:
            _ = matrix @ matrix
    else:
        import torch

        tensor = torch.ones((SIZE, SIZE), device=device)

        def product() -> None:
            (tensor @ tensor)[0, 0].item()  # waits for the device

    product()
    began, count, elapsed_s = time.perf_counter(), 0, 0.0
    while elapsed_s < MEASURED_S:
        product()
        count += 1
        elapsed_s = time.perf_counter() - began
    return 2 * SIZE**3 * count / elapsed_s / 1e9


def _mfcc() -> float:
    """Return the seconds for one second of audio, from the time of mel spectra in numpy."""
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 4 * SAMPLE_RATE).astype(np.float32)
    window, mel = np.hanning(N_FFT).astype(np.float32), np.ones((N_FFT // 2 + 1, N_MELS), np.float32)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        frames = np.lib.stride_tricks.sliding_window_view(noise, N_FFT)[::HOP_LENGTH] * window
        np.log(np.square(np.abs(np.fft.rfft(frames))).astype(np.float32) @ mel + 1e-10)
        seconds.append(time.perf_counter() - began)
    return MFCC_WORK * min(seconds) / 4


def minutes_text(minutes: float) -> str:
    """Format minutes as `under a minute`, `about 12 minutes` or `about 3 hours`."""
    if minutes < 1:
        return "under a minute"
    if minutes < 100:
        return f"about {minutes:.0f} minute{'' if round(minutes) == 1 else 's'}"
    return f"about {minutes / 60:.0f} hours"
