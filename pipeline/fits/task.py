"""A fit as a unit of work: it can be trained in any process, in any order, without the other fits of its run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FitTask:
    """One fit of a run.

    Attributes:
        what: Its description in messages, such as `train-heads esc10 mfcc linear`; no other fit of the run has it.
        folder: The folder of its results.
        job: Digest of everything that determines its result.
        is_done: Returns whether the results of this job are complete.
        train: Trains the fit, writes its results and returns a summary, such as `5 folds, 1.2 s`.
    """

    what: str
    folder: Path
    job: str
    is_done: Callable[[], bool]
    train: Callable[[], str]

    @property
    def reused(self) -> str:
        """The line about a complete fit."""
        return f"{self.what}: reused → {self.folder}"

    @property
    def planned(self) -> str:
        """The line about a fit that a dry run does not train."""
        return f"{self.what}: would train → {self.folder}"

    def trained(self, summary: str) -> str:
        """Return the line about a trained fit; `summary` is what `train` returned."""
        return f"{self.what}: {summary} → {self.folder}"
