"""Save figures: one file per day and device; rows that are measured again replace their older figures."""

from __future__ import annotations

import datetime
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import Figure
from features.store.writer import library_versions

RESULTS = Path(__file__).parent / "results"


def save(figures: dict[str, list[Figure]], device: str) -> Path:
    """Write the rows, with a description of the machine, and return the file.

    Args:
        figures: Figures by row.
        device: Torch device.
    """
    now = datetime.datetime.now(datetime.UTC)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now.date().isoformat()}-bench-{device.partition(':')[0]}.json"
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else {}
    for row, measured in figures.items():
        rows[row] = {
            "at_utc": now.isoformat(timespec="minutes"),
            "load_average": os.getloadavg()[0],
            "figures": [{**asdict(figure), "met": figure.met} for figure in measured],
        }
    path.write_text(json.dumps({**_about(device), "rows": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _about(device: str) -> dict[str, Any]:
    """Describe the machine and the library versions."""
    is_cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(device) if is_cuda else f"{torch.get_num_threads()} CPU threads",
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "versions": {**library_versions(), "python": platform.python_version()},
    }


def _cpu_name() -> str:
    """Return the name of the processor, if it is known."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
