"""Measure the time of one clip, from its samples in memory to the scores. This module imports no torch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WARM_UP = 2  # runs before the first measured one
FEWEST = 3  # clips that are measured in any case

Seconds = tuple[float, float]
"""Wall time, and CPU time of all threads of this process."""


@dataclass(frozen=True)
class Latency:
    """The time of one clip at batch 1.

    Attributes:
        median_ms: Median of the wall time in milliseconds.
        low_ms: Its 10th percentile.
        high_ms: Its 90th percentile.
        cpu_ms: Median of the CPU time of all threads in milliseconds. Other load on the machine affects it less.
        realtime_factor: Median of the clips' durations divided by their wall times; above 1 is faster than real time.
        n_clips: Number of measured clips.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    cpu_ms: float
    realtime_factor: float
    n_clips: int

    @staticmethod
    def of(seconds: Sequence[Seconds], durations_s: Sequence[float]) -> Latency:
        """Summarise the times of some clips.

        Args:
            seconds: Times of N clips.
            durations_s: Their N durations in seconds.

        Raises:
            ValueError: There are no clips, or the lengths differ.
        """
        if not len(seconds) == len(durations_s) > 0:
            raise ValueError(f"{len(seconds)} times for {len(durations_s)} durations; each clip needs one of both")
        wall, cpu = np.array(seconds).T
        low, median, high = (float(value) for value in np.quantile(wall * 1000, (0.1, 0.5, 0.9)))
        speed = float(np.median(np.asarray(durations_s) / wall))
        return Latency(median, low, high, float(np.median(cpu * 1000)), speed, len(wall))


def measured(work: Callable[[], Any]) -> tuple[Any, Seconds]:
    """Run `work` and return its result and the time it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - wall, time.process_time() - cpu)


def time_clips(
    run: Callable[[np.ndarray], Sequence[Seconds]],
    waveforms: Sequence[np.ndarray],
    sample_rate: int,
    *,
    n_clips: int,
    most_s: float = math.inf,
) -> list[Latency]:
    """Time some models on one clip after another, after a warm-up that is not counted.

    Args:
        run: Runs a waveform (T,) through all models, and returns the time of each.
        waveforms: Clips; they are repeated if there are fewer than `n_clips`.
        sample_rate: Their sample rate in Hz.
        n_clips: Number of clips to measure.
        most_s: No further clip is begun after this many seconds, but at least `FEWEST` are measured.

    Returns:
        The latency of each model.
    """
    for _ in range(WARM_UP):
        run(waveforms[0])
    times: list[Sequence[Seconds]] = []
    durations_s: list[float] = []
    end = time.perf_counter() + most_s
    for waveform in _repeated(waveforms, n_clips):
        if len(times) >= FEWEST and time.perf_counter() > end:
            break
        times.append(run(waveform))
        durations_s.append(len(waveform) / sample_rate)
    return [Latency.of(own, durations_s) for own in zip(*times, strict=True)]


def _repeated(waveforms: Sequence[np.ndarray], count: int) -> Iterator[np.ndarray]:
    for number in range(count):
        yield waveforms[number % len(waveforms)]
