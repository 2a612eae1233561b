"""Hard clips: missed by all models, most confidently misclassified by each model, and hardest on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.labels import Task
from pipeline.report.analysis.hard_clips import difficulty, hardest, missed_by_all, most_confidently_wrong, votes
from pipeline.report.outcomes.outcomes import Outcomes
from pipeline.report.section import Section
from pipeline.report.study import Study

LISTED = 15
MOST_HEARD = 200  # clips behind a button
DIFFICULTY: dict[Task, tuple[str, str]] = {
    "single-label": ("probability of the true class", "the lowest mean probability of the true class"),
    "multi-label": ("log loss", "the highest mean log loss (in nats) over classes"),
    "regression": ("absolute error", "the largest mean absolute error"),
}
"""By task, the column heading and the definition of hardest."""


@dataclass(frozen=True)
class Listing:
    """A table of clips.

    Attributes:
        headings: Headings of the columns after the clip's id and true label.
        rows: For each clip its position in the page, and its id, true label and other cells as text.
        numbers: The headings of numeric columns.
    """

    headings: tuple[str, ...]
    rows: list[tuple[int, tuple[str, ...]]]
    numbers: tuple[str, ...] = ()

    @property
    def clips(self) -> list[int]:
        """Positions of the clips in the page."""
        return [clip for clip, _ in self.rows]


@dataclass(frozen=True)
class ClipNames:
    """Ids, true labels and class names for the listings."""

    ids: Sequence[str]
    truth: Sequence[str]
    labels: Sequence[str]
    task: Task

    def row(self, clip: int, *cells: str) -> tuple[int, tuple[str, ...]]:
        """Return a row of a `Listing`."""
        return clip, (self.ids[clip], self.truth[clip], *cells)


def section(study: Study) -> Section:
    """Build three lists of clips. For regression, list the largest errors of all models and of each model."""
    shown = study.manifest.clips.iloc[study.tested]
    task = study.manifest.task
    clips = ClipNames(shown["id"].tolist(), [_label(value) for value in shown["label"]], study.manifest.labels, task)
    found = [model.outcomes for model in study.learned]
    counting = [one for model, one in zip(study.learned, found, strict=True) if not model.is_control] or found
    missed = missed_by_all(counting) if task != "regression" else []
    context: dict[str, Any] = {
        "task": task,
        "n_models": len(counting),
        "without_controls": len(counting) < len(found),
        "n_clips": len(clips.ids),
        "listed": LISTED,
        "hardest": hardest_listing(counting, clips, hardest(counting, LISTED)),
        "hardest_means": DIFFICULTY[task][1],
        "models": [model.title for model in study.learned],
        "of_models": [model_listing(one, clips) for one in found],
        "missed": hardest_listing(counting, clips, missed[:LISTED]),
        "all_missed": missed,
        "heard": missed[:MOST_HEARD],
    }
    listings = [context["hardest"], context["missed"], *context["of_models"]]
    listed = {clip for listing in listings for clip in listing.clips} | set(missed[:MOST_HEARD])
    return Section(key="hard-clips", title="Hard clips", template="hard_clips.html", context=context, clips=listed)


def hardest_listing(models: Sequence[Outcomes], clips: ClipNames, order: Sequence[int]) -> Listing:
    """List clips with their difficulty for the models and the most frequent prediction."""
    measured = difficulty(models)
    if clips.task == "single-label":
        measured = 1 - measured
    predicted = _most_frequent(models, clips, order)
    heading, number = "predicted most often", DIFFICULTY[clips.task][0]
    return Listing(
        (number, heading),
        [clips.row(clip, f"{measured[clip]:.3f}", own) for clip, own in zip(order, predicted, strict=True)],
        (number,),
    )


def model_listing(model: Outcomes, clips: ClipNames) -> Listing:
    """List the most confident errors of one model; for regression, its largest errors."""
    if clips.task == "regression":
        predicted, errors = model.predicted().mean(axis=0), difficulty([model])
        return Listing(
            ("predicted", "absolute error"),
            [clips.row(clip, f"{predicted[clip]:.4g}", f"{errors[clip]:.3f}") for clip in hardest([model], LISTED)],
            ("predicted", "absolute error"),
        )
    wrong = most_confidently_wrong(model, LISTED)
    return Listing(
        ("predicted", "probability"),
        [
            clips.row(one.clip, f"{'' if one.predicted else 'not '}{clips.labels[one.label]}", f"{one.probability:.3f}")
            for one in wrong
        ],
        ("probability",),
    )


def _most_frequent(models: Sequence[Outcomes], clips: ClipNames, order: Sequence[int]) -> list[str]:
    """Return the most frequent prediction for some clips, with the number of models; the mean for regression."""
    if clips.task == "regression":
        means = np.mean([one.predicted(np.array(order, dtype=np.int64)).mean(axis=0) for one in models], axis=0)
        return [f"{value:.4g} (mean)" for value in means]
    counts = votes(models, order)
    if clips.task == "multi-label":
        frequent = [np.flatnonzero(row >= len(models) / 2).tolist() for row in counts]
        return [", ".join(clips.labels[at] for at in own) or "none" for own in frequent]
    return [f"{clips.labels[int(row.argmax())]} ({row.max():.2g} of {len(models)})" for row in counts]


def _label(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
