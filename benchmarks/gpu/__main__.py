"""Check and measure stage 1 and training on a GPU, in at most eight minutes.

Correctness comes first, then speed. Every row is printed and saved as soon as it is done, so a run that is interrupted
keeps what it measured. `--tiny --device cpu` runs every row with tiny models, to test this script; those figures mean
nothing and are not saved.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

NEEDED = (
    *("torch", "torchvision", "transformers", "librosa", "soundfile", "soxr", "h5py", "pandas", "pydantic", "sklearn"),
    *("torchaudio", "lightning", "rich", "typer"),
)


def missing(modules: Iterable[str]) -> list[str]:
    """Return the modules that are not installed."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows; return 1 if a check of correctness fails, 2 if the benchmark cannot run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny models and few clips, to test this script")
    parser.add_argument("--audio", type=Path, help="folder of 16 kHz WAV files instead of generated ones")
    parser.add_argument("--minutes", type=float, default=8.0, help="start no further row after this time")
    parser.add_argument("--only", nargs="+", help="run only these rows: families, memory, speed, heads, resnet")
    given = parser.parse_args(arguments)
    if absent := missing(NEEDED):
        print(f"missing packages: {', '.join(absent)}; install them first, see docs/performance.md")
        return 2
    import torch

    if given.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device is available; --tiny --device cpu tests this script on a CPU")
        return 2
    return _run(given)


def _run(given: argparse.Namespace) -> int:
    """Run the rows and print each figure when it is measured."""
    import torch

    from benchmarks.gpu.rows import CHECKS, ROWS, Bench
    from benchmarks.results import save
    from features.system.malloc import keep_large_buffers

    keep_large_buffers()
    device, started = given.device, time.perf_counter()
    if unknown := set(given.only or ()) - set(ROWS):
        print(f"--only: no row {', '.join(sorted(unknown))}; rows are {', '.join(ROWS)}")
        return 2
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{os.cpu_count()} CPU cores"
    print(f"{name}, torch {torch.__version__}" + (", tiny models: these figures mean nothing" if given.tiny else ""))
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(device, given.tiny, given.audio, Path(folder))
        for row in given.only or ROWS:
            if time.perf_counter() - started > 60 * given.minutes:
                print(f"{row}: not started, because {given.minutes:g} minutes have passed")
                continue
            figures = []
            for figure in ROWS[row](bench):
                figures.append(figure)
                cells = " | ".join(filter(None, figure.cells()))
                print(f"{time.perf_counter() - started:5.0f} s  {row}: {cells}", flush=True)
                if not given.tiny:
                    save({f"gpu-{row}": figures}, device)
            failed |= row in CHECKS and any(figure.met is False for figure in figures)
    print(f"done after {time.perf_counter() - started:.0f} s" + ("; a check failed" if failed else ""))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
