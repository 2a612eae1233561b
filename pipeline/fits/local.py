"""Train fits one after the other in this process, or only announce them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.console import Console
from pipeline.fits.task import FitTask


def train_here(tasks: Sequence[FitTask], console: Console) -> None:
    """Train every fit that is not complete, with a line for each."""
    for number, task in enumerate(tasks, 1):
        with console.within(f"model {number} of {len(tasks)}"):
            console.line(task.reused if task.is_done() else task.trained(task.train()))


def announce(tasks: Iterable[FitTask], console: Console) -> None:
    """Print which fits would be trained and which are reused."""
    for task in tasks:
        console.line(task.reused if task.is_done() else task.planned)
