"""Counts of running tasks, for progress bars and for lines away from a terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text


@dataclass
class ProgressTask:
    """A running task: the counts shown by its bar and, later, by a summary line.

    Attributes:
        done: Units finished.
        audio_s: Seconds of audio finished.
        failures: Units that failed.
    """

    bar: Progress
    task: TaskID
    unit: str = "clips"
    done: int = 0
    audio_s: float = 0.0
    failures: int = 0
    started: float = field(default_factory=time.perf_counter)

    def advance(self, units: int = 1, audio_s: float = 0.0, failures: int = 0) -> None:
        """Count finished units, their seconds of audio, and how many of them failed."""
        self.done += units
        self.audio_s += audio_s
        self.failures += failures
        self.bar.update(self.task, advance=units, audio_s=self.audio_s, failures=self.failures)

    def __str__(self) -> str:
        """One line for outputs without bars: `features mfcc: 120/400 clips, 52 clips/s, 1 failed; 3 min so far`."""
        task = self.bar.tasks[self.bar.task_ids.index(self.task)]
        minutes = int(self.elapsed_s // 60)
        running = f"{minutes} min so far" if minutes else "less than a minute so far"
        rates = _rates(self.done, task.total, self.elapsed_s, self.unit, self.audio_s, self.failures)
        return f"{task.description}: {'; '.join([*filter(None, [', '.join(rates)]), running])}"

    @property
    def elapsed_s(self) -> float:
        """Seconds since the task started."""
        return time.perf_counter() - self.started


class Rates(ProgressColumn):
    """Column with counts and rates: `120/400 clips  52 clips/s  260 s audio/s  1 failed`."""

    def __init__(self, unit: str, *, with_audio: bool = True) -> None:
        """Create the column; it is empty if `unit` is, and has no rate of audio without `with_audio`."""
        super().__init__(Column(no_wrap=True))
        self.unit = unit
        self.with_audio = with_audio

    def render(self, task: Task) -> Text:
        """Return the counts and rates of one task."""
        fields = (task.fields.get("audio_s") or 0.0) * self.with_audio, task.fields.get("failures") or 0
        return Text("  ".join(_rates(task.completed, task.total, task.elapsed or 0.0, self.unit, *fields)))


def _rates(done: float, total: float | None, elapsed_s: float, unit: str, audio_s: float, failures: int) -> list[str]:
    """Return counts and rates: `120/400 clips`, `52 clips/s`, `260 s audio/s`, `1 failed`."""
    if not unit or not (done or total):
        return []
    parts = [f"{done:.0f}{f'/{total:.0f}' if total is not None else ''} {unit}"]
    if elapsed_s:
        parts.append(f"{done / elapsed_s:.3g} {unit}/s")
        if audio_s:
            parts.append(f"{audio_s / elapsed_s:.3g} s audio/s")
    if failures:
        parts.append(f"{failures} failed")
    return parts
