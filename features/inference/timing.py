"""Busy times of the parts of stage 1; the part that is always busy limits the run."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timings:
    """Busy seconds of the parts of a run, which overlap.

    Attributes:
        read_s: Decoding and resampling, averaged over the decoding threads.
        front_end_s: The backbone's front end where it is a part of its own: in the decoding threads, or on the device.
        forward_s: The rest of the forward passes; on a CUDA device measured on the device.
        pool_s: Pooling.
        write_s: Collecting rows and writing shards.
        idle_s: Time the model waited for other parts.
        compile_s: Compiling the network, before the other parts start.
    """

    read_s: float = 0.0
    forward_s: float = 0.0
    pool_s: float = 0.0
    write_s: float = 0.0
    idle_s: float = 0.0
    compile_s: float = 0.0
    front_end_s: float = 0.0

    def __add__(self, other: Timings) -> Timings:
        """Return the sums for two consecutive runs."""
        return Timings(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __str__(self) -> str:
        """Return one line: `read 41 s · forward 312 s · pool 1 s · write 2 s · idle 6 s · limited by forward`."""
        parts = {"compile": self.compile_s, "read": self.read_s, "front end": self.front_end_s}
        shown = [f"{name} {_short(seconds)} s" for name, seconds in parts.items() if seconds or name == "read"]
        later = {"forward": self.forward_s, "pool": self.pool_s, "write": self.write_s, "idle": self.idle_s}
        shown += [f"{name} {_short(seconds)} s" for name, seconds in later.items()]
        return " · ".join([*shown, *([f"limited by {self.limit}"] if self.limit else [])])

    @property
    def limit(self) -> str | None:
        """Return the part that was busy longest: `read`, `front end`, `forward` (with pooling) or `write`."""
        busy = {
            "read": self.read_s,
            "front end": self.front_end_s,
            "forward": self.forward_s + self.pool_s,
            "write": self.write_s,
        }
        longest = max(busy, key=busy.__getitem__)
        return longest if busy[longest] > 0 else None


def _short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 or seconds == 0 else f"{seconds:.2g}" if seconds >= 0.01 else "0"


def machine_load(own_threads: int) -> float | None:
    """Return the load of the machine per core over the last minute; above 1, programs wait for each other.

    Threads that this run starts beyond the number of cores do not count. None where the system does not tell.

    Args:
        own_threads: Number of threads of this run that compute or decode.
    """
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0.0, load - max(0, own_threads - cores)) / cores


class Clock:
    """Adds up busy seconds by part; threads may share it."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._marks: list[tuple[str, str | None, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def measure(self, part: str, device: torch.device | None = None, within: str | None = None) -> Iterator[None]:
        """Add the block's time to `part`; with a CUDA device, the device time of the work queued by the block.

        Args:
            part: The part.
            device: Where the work runs; None for the host.
            within: The part that is being measured around this one, which does not count this time.
        """
        if device is not None and device.type == "cuda":
            stream = torch.cuda.current_stream(device)
            start = stream.record_event(torch.cuda.Event(enable_timing=True))
            yield
            with self._lock:
                self._marks.append((part, within, start, stream.record_event(torch.cuda.Event(enable_timing=True))))
            return
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self.add(part, seconds)
            if within is not None:
                self.add(within, -seconds)

    def add(self, part: str, seconds: float) -> None:
        """Add seconds to `part`."""
        with self._lock:
            self._seconds[part] += seconds

    def seconds(self) -> dict[str, float]:
        """Return the busy seconds so far, without work that a device has not finished yet."""
        with self._lock:
            waiting = []
            for part, within, start, end in self._marks:
                if not end.query():
                    waiting.append((part, within, start, end))
                    continue
                seconds = start.elapsed_time(end) / 1000
                self._seconds[part] += seconds
                if within is not None:
                    self._seconds[within] -= seconds
            self._marks = waiting
            return dict(self._seconds)
