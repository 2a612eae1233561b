"""Measure what grows with clips and groups in stage 2, audit and report: seconds of CPU, peak memory, growth.

Each size of a row runs in a process of its own, on one thread. `MB` is how far the peak of memory rises above that of
preparing the input. The growth exponent is log(seconds ratio) / log(size ratio) between a size and the one before.
The row `reading` writes caches of up to 4 GB to a temporary folder and reads one layer of 13 (3 kB a clip); they are
removed. Run: `python -m benchmarks.heads_at_scale`, or with `--only` and some of the rows, which `--help` lists.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os

from benchmarks.figures import growth_text
from benchmarks.heads_at_scale.rows import ROWS, measure


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS), help="rows to measure")
    parser.add_argument("--most", type=int, help="leave out larger sizes")
    given = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before NumPy is loaded in the processes
    print(f"{'row':<15}{'size':<34}{'CPU s':>8}{'MB':>8}{'growth':>8}")
    for name in given.only:
        earlier: tuple[int, float] | None = None
        for size in (size for size in ROWS[name][2] if not given.most or size <= given.most):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak = pool.apply(measure, (name, size))
            growth = growth_text((size, seconds), earlier)
            print(f"{name:<15}{f'{size:,} {ROWS[name][1]}':<34}{seconds:>8.2f}{peak:>8.0f}{growth:>8}", flush=True)
            earlier = size, seconds


if __name__ == "__main__":
    main()
