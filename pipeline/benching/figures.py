"""The figures of `audioheads bench` as a table and as JSON."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from features.inference.timing import machine_load
from features.store.writer import library_versions
from features.system.machine import processor_name
from pipeline.benching.clips import BenchClips
from pipeline.benching.request import Answer
from pipeline.results.table import counted

MB = 1e6
HEADINGS = ("runtime", "ms per clip", "10–90 %", "CPU ms", "× real time", "peak memory MB", "size MB")


@dataclass(frozen=True)
class RuntimeFigures:
    """A model in one runtime.

    Attributes:
        runtime: `torch`, `onnx` or `onnx int8`.
        answer: Time and memory.
        sizes: Part -> bytes on disk: `backbone` and `head`, `network`, or the ONNX files; None if unknown.
    """

    runtime: str
    answer: Answer
    sizes: dict[str, int | None]

    @property
    def size_bytes(self) -> int | None:
        """Bytes of all parts; None if one is unknown."""
        known = [size for size in self.sizes.values() if size is not None]
        return sum(known) if len(known) == len(self.sizes) else None

    def row(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        latency = self.answer.latency
        assert latency is not None
        return (
            self.runtime,
            f"{latency.median_ms:.1f}",
            f"{latency.low_ms:.1f}–{latency.high_ms:.1f}",
            f"{latency.cpu_ms:.1f}",
            f"{latency.realtime_factor:.1f}",
            _megabytes(self.answer.peak_memory),
            _megabytes(self.size_bytes),
        )

    def entry(self) -> dict[str, Any]:
        """Return all figures as JSON values."""
        latency = self.answer.latency
        assert latency is not None
        return {
            "runtime": self.runtime,
            **asdict(latency),
            "peak_memory_bytes": self.answer.peak_memory,
            "device_memory_bytes": self.answer.device_memory,
            "size_bytes": self.size_bytes,
            "sizes": self.sizes,
        }


def machine_note(device: str, threads: int) -> dict[str, Any]:
    """Return what the figures depend on: processor, device, threads, load and versions, as JSON values."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "device": device,
        "threads": threads,
        "load": machine_load(threads),
        "versions": library_versions(),
    }


def machine_text(note: dict[str, Any]) -> str:
    """Return the note as one line."""
    versions = note["versions"]
    named = [f"{name} {versions[name]}" for name in ("torch", "onnxruntime") if name in versions]
    text = (
        f"machine: {note['processor'] or 'processor unknown'}, {counted(note['cores'], 'core')}, "
        f"{counted(note['threads'], 'thread')}, device {note['device']}, {', '.join(named)}"
    )
    if note["load"] is not None and note["load"] > 1:
        text += f"; other programs kept it busy (load {note['load']:.1f} per core), so compare times with caution"
    return text


def conditions(n_clips: int, clips: BenchClips) -> str:
    """Return how the times were measured, in one sentence."""
    shortest, longest = min(clips.durations_s), max(clips.durations_s)
    seconds = f"{shortest:.3g}" + (f" to {longest:.3g}" if longest > shortest else "")
    return f"{counted(n_clips, 'run')} on {clips.what} of {seconds} s, one at a time, from samples in memory to scores"


def _megabytes(size: int | None) -> str:
    return "–" if size is None else f"{size / MB:.1f}" if size < 100 * MB else f"{size / MB:.0f}"
