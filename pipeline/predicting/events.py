"""Merge consecutive windows with the same decision into events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from features.errors import UserError
from features.labels import Task
from heads.evaluation.decisions.operating_points import decide
from pipeline.predicting.output_formats import Scored, number


@dataclass(frozen=True)
class EventOptions:
    """How windows become events.

    Attributes:
        release: An event starts where a class reaches its threshold. It goes on while the probability is at least this
            fraction of the threshold (hysteresis), 0…1.
        min_s: Shorter events are left out, in seconds.
    """

    release: float = 0.8
    min_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: A value is out of range.
        """
        if not 0 < self.release <= 1:
            raise UserError(
                f"--release {self.release:g}: must be more than 0 and at most 1, as a share of the threshold"
            )
        if not 0 <= self.min_s < float("inf"):
            raise UserError(f"--min-event-s {self.min_s:g}: must be 0 or more seconds")


@dataclass(frozen=True)
class Event:
    """A stretch of one recording.

    Attributes:
        id: Id of the recording.
        onset_s: Start of its first window in seconds.
        offset_s: End of its last window in seconds.
        label: The class.
        score: Highest probability of the class in its windows.
    """

    id: str
    onset_s: float
    offset_s: float
    label: str
    score: float


def events_of(
    rows: Sequence[Scored],
    labels: Sequence[str],
    thresholds: np.ndarray,
    task: Task,
    options: EventOptions,
    *,
    abstain: bool = True,
) -> list[Event]:
    """Return the events of all recordings, by recording, onset and class.

    In `single-label`, a recording has one event at a time: another decided class ends it. A window that failed ends all
    events.

    Args:
        rows: Windows with times; those of a recording are consecutive and in order.
        labels: Class names in the order of the outputs.
        thresholds: Threshold of each class, shape (C,).
        task: `single-label` or `multi-label`.
        options: How windows become events.
        abstain: Whether a `single-label` window has no class if its most probable one is below its threshold.
    """
    found = []
    for _, windows in groupby(rows, key=lambda row: row.id):
        own = list(_of_recording(list(windows), labels, thresholds, task, options, abstain))
        found += sorted(own, key=lambda event: (event.onset_s, labels.index(event.label)))
    return found


def _of_recording(
    windows: Sequence[Scored],
    labels: Sequence[str],
    thresholds: np.ndarray,
    task: Task,
    options: EventOptions,
    abstain: bool,
) -> Iterator[Event]:
    """Yield the events of one recording as they end."""
    open_: dict[int, list[tuple[Scored, float]]] = {}
    for window in [*windows, None]:
        outputs = None if window is None else window.outputs
        active: set[int] = set()
        if outputs is not None:
            starting = np.flatnonzero(decide(outputs[None], thresholds, task, abstain=abstain)[0]).tolist()
            active = {own for own in open_ if outputs[own] >= options.release * thresholds[own]} | set(starting)
            if task == "single-label" and starting:
                active = set(starting)
        for own in sorted(open_.keys() - active):
            yield from _closed(open_.pop(own), labels[own], options)
        for own in active:
            assert window is not None and outputs is not None
            open_.setdefault(own, []).append((window, number(outputs[own])))


def _closed(windows: Sequence[tuple[Scored, float]], label: str, options: EventOptions) -> Iterator[Event]:
    """Yield the event of some windows, unless it is too short."""
    first, last = windows[0][0], windows[-1][0]
    assert first.start_s is not None and last.end_s is not None
    if last.end_s - first.start_s >= options.min_s:
        score = max(score for _, score in windows)
        yield Event(first.id, round(first.start_s, 6), round(last.end_s, 6), label, score)
