"""Coverage of the interval of false alarms per hour.

Recordings of half an hour to one and a half, on average one hour in all, have Poisson counts whose rates are equal or
differ between recordings by a gamma distribution. Run: `python -m benchmarks.coverage.false_alarms`; it takes ten
seconds on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from benchmarks.figures import Figure
from benchmarks.results import save
from heads.evaluation.decisions.false_alarms import rate_interval

RECORDINGS = (3, 10, 30)
ALARMS = (2, 10, 50)
DEVIATIONS = (0.0, 0.7, 1.4)
"""Standard deviation of the rate between recordings, as a fraction of the rate."""


def covered(n_recordings: int, alarms: float, deviation: float, n_sets: int) -> float:
    """Return the fraction of sets of recordings whose interval contains the rate."""
    rng = np.random.default_rng([n_recordings, int(alarms), int(10 * deviation)])
    found = []
    for _ in range(n_sets):
        hours = rng.uniform(0.5, 1.5, n_recordings) / n_recordings
        rates = np.full(n_recordings, alarms)
        if deviation:
            rates = alarms * rng.gamma(deviation**-2, deviation**2, n_recordings)
        low, high = rate_interval(rng.poisson(rates * hours), hours)
        found.append(low <= alarms <= high)
    return float(np.mean(found))


def measure(n_sets: int, show: Callable[[str], object] = print) -> list[Figure]:
    """Measure and show the coverage for every setting."""
    figures = []
    show(f"{'recordings':>10}{'alarms':>8}{'deviation':>11}{'covered':>9}")
    for n_recordings in RECORDINGS:
        for alarms in ALARMS:
            for deviation in DEVIATIONS:
                value = covered(n_recordings, alarms, deviation, n_sets)
                show(f"{n_recordings:>10}{alarms:>8}{deviation:>11}{value:>9.3f}")
                figures.append(
                    Figure(
                        what=f"false alarm rate, {n_recordings} recordings, {alarms} alarms, deviation {deviation}",
                        value=value,
                        unit="of true values covered",
                        at_least=0.93 if n_recordings >= 10 and deviation < 1 else None,
                        details={"sets": n_sets},
                    )
                )
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000, help="sets of recordings per setting")
    save({"coverage of false alarms": measure(parser.parse_args().sets)}, "cpu")
