"""Times of single clips, summarised."""

import time

import numpy as np
import pytest

from pipeline.benching.timing import FEWEST, WARM_UP, Latency, measured, time_clips


def test_the_summary_of_known_times():
    seconds = [(0.1 * (n + 1), 0.05 * (n + 1)) for n in range(11)]
    latency = Latency.of(seconds, [1.1] * 11)
    assert (latency.median_ms, latency.low_ms, latency.high_ms) == pytest.approx((600, 200, 1000))
    assert latency.cpu_ms == pytest.approx(300) and latency.n_clips == 11
    assert latency.realtime_factor == pytest.approx(1.1 / 0.6)
    with pytest.raises(ValueError, match="2 times for 1 durations"):
        Latency.of(seconds[:2], [1.0])


def test_clips_are_repeated_and_the_warm_up_is_not_counted():
    waveforms = [np.zeros(4000, np.float32), np.zeros(8000, np.float32)]
    seen = []

    def run(waveform):
        seen.append(len(waveform))
        slow = 0.5 if len(seen) <= WARM_UP else 0.01
        return [(slow, slow), (2 * slow, slow)]

    one, other = time_clips(run, waveforms, 8000, n_clips=5)
    assert seen == [4000] * WARM_UP + [4000, 8000, 4000, 8000, 4000]
    assert one.n_clips == 5 and one.median_ms == pytest.approx(10) and other.median_ms == pytest.approx(20)
    assert one.realtime_factor == pytest.approx(0.5 / 0.01)


def test_little_time_measures_few_clips():
    run = lambda waveform: [measured(lambda: time.sleep(0.002))[1]]  # noqa: E731
    (latency,) = time_clips(run, [np.zeros(8)], 8, n_clips=100, most_s=0.0)
    assert latency.n_clips == FEWEST and latency.median_ms >= 2
