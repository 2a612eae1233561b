"""What a measuring process is asked, and what it answers, as JSON files. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.benching.timing import Latency


@dataclass(frozen=True)
class Request:
    """One measurement in a process of its own.

    Attributes:
        model: The MODEL argument; or for onnxruntime, a folder of `export --format onnx`.
        graph: The ONNX file in the folder; "" measures the model with torch.
        clips: An `.npz` file of waveforms (T,) float32.
        sample_rate: Their sample rate in Hz.
        n_clips: Number of clips to measure.
        threads: CPU threads.
        device: Torch device.
        choice: Arguments of `pipeline.predicting.command.FitChoice`.
    """

    model: str
    graph: str
    clips: str
    sample_rate: int
    n_clips: int
    threads: int
    device: str
    choice: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write it to a file."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> Request:
        """Read it from a file."""
        return Request(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Answer:
    """The result of a measurement.

    Attributes:
        latency: Time of one clip; None if there is an error.
        peak_memory: Largest resident memory of the process in bytes, with its libraries; None if unknown.
        device_memory: Largest memory that torch has allocated on a CUDA device in bytes; None on other devices.
        error: Why there is no result; "" if there is one.
    """

    latency: Latency | None = None
    peak_memory: int | None = None
    device_memory: int | None = None
    error: str = ""

    def write(self, path: Path) -> None:
        """Write it to a file."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @staticmethod
    def read(path: Path) -> Answer:
        """Read it from a file."""
        found = json.loads(path.read_text(encoding="utf-8"))
        latency = found.pop("latency")
        return Answer(latency and Latency(**latency), **found)
