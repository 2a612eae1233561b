"""Memory and time by number of clips: stage 1 in a new process for each number.

The worker is this file, run as a module. It prints its peak RSS and run time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.clips import write_noises
from benchmarks.figures import Figure

CLIP_S = 0.1
BACKBONES = {
    "wav2vec2-tiny": {"name": "wav2vec2", "weights": "random", "size": "tiny"},
    "wav2vec2-base": {"name": "wav2vec2-base", "weights": "random"},
    "mfcc": {"name": "mfcc"},
}


def rss_figures(many: int, few: int, backbone: str = "wav2vec2-tiny") -> list[Figure]:
    """Compare peak RSS and time per clip between many and few clips."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_noises(folder / "clips", many, CLIP_S)
        measured = {count: run_worker(folder, count, backbone) for count in (few, many)}
    first, last = measured[few], measured[many]
    return [
        Figure(
            f"peak RSS, {many} against {few} clips ({backbone})",
            last["peak_mb"] / first["peak_mb"],
            "×",
            at_most=1.1,
            details={f"MB at {few}": first["peak_mb"], f"MB at {many}": last["peak_mb"]},
        ),
        Figure(
            f"time per clip, {many} against {few} clips ({backbone})",
            (last["seconds"] / many) / (first["seconds"] / few),
            "×",
            at_most=1.1,
            details={f"ms at {few}": 1e3 * first["seconds"] / few, f"ms at {many}": 1e3 * last["seconds"] / many},
        ),
    ]


def run_worker(folder: Path, count: int, backbone: str) -> dict[str, Any]:
    """Run stage 1 on the first `count` clips in a new process; return its JSON, such as `peak_mb` and `seconds`."""
    command = [sys.executable, "-m", "benchmarks.stage1.memory", str(folder / "clips"), str(count), backbone]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    """Run the worker; arguments: folder of clips, number of clips, backbone."""
    import pandas as pd

    from benchmarks.clips import Silent
    from features import backbones
    from features.extract import extract
    from features.manifest import Manifest
    from features.planning.settings import Settings
    from features.system.malloc import keep_large_buffers

    keep_large_buffers()  # as the command line does
    folder, count, backbone = Path(sys.argv[1]), int(sys.argv[2]), BACKBONES[sys.argv[3]]
    names = pd.Series([f"{number // 1000:03d}/{number % 1000:03d}.wav" for number in range(count)])
    manifest = Manifest("many", folder, pd.DataFrame({"id": names, "path": names, "label": "any"}))
    spec = backbones.describe(backbone)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        summary = extract(
            manifest, spec, lambda: backbones.load(backbone, spec=spec), Settings(), Path(cache), Silent()
        )
    answer = {
        "computed": summary.computed,
        "seconds": time.perf_counter() - started,
        "computing_s": summary.seconds,
        "times": str(summary.timings),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
