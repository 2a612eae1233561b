"""Figures of classes for papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.report.analysis.class_blocks import ClassBlocks
from pipeline.report.figure import Axis, Figure, Heatmap
from pipeline.report.outcomes.confusions import Confusions, alike_together
from pipeline.report.study import Study, StudyModel

WRITTEN_CLASSES = 20  # a saved confusion matrix shows its counts up to this many classes


def score_heatmap(
    study: Study, scores: Sequence[Mapping[int, tuple[Any, ...]]], order: Sequence[int], what: str
) -> Figure:
    """Draw the score of each class by every model.

    Args:
        study: The experiment.
        scores: For each model, the score of each class by its number, see `class_scores`.
        order: The classes to draw, hardest first.
        what: Name of the score.
    """
    labels = study.manifest.labels
    hardest, easiest = labels[order[0]], labels[order[-1]]
    return Figure(
        alt=f"Heat map of the {what} of {len(study.learned)} models on {len(order)} classes. Hardest on average is "
        f"{hardest}, easiest {easiest}.",
        x=Axis("model"),
        y=Axis("class"),
        heatmap=Heatmap(
            values=[[one[at][0] if at in one else None for one in scores] for at in order],
            rows=[labels[at] for at in order],
            columns=[model.title for model in study.learned],
            texts=[[f"{one[at][0]:.2f}" if at in one else "" for one in scores] for at in order],
        ),
        height=120 + 22 * len(order),
    )


def printed_matrix(model: StudyModel, found: Confusions, labels: Sequence[str]) -> Figure:
    """Draw the confusion matrix of the best model, for papers."""
    order = alike_together(found)
    names = [labels[at] for at in order]
    shares, counts = (found.matrix(own)[np.ix_(order, order)] for own in (found.shares, found.counts))
    texts = [[f"{count:.3g}" if count else "" for count in row] for row in counts]
    return Figure(
        alt=f"Confusion matrix of {model.title}, normalised by row (true class).",
        x=Axis("predicted class"),
        y=Axis("true class"),
        heatmap=Heatmap(shares.tolist(), names, names, texts if len(names) <= WRITTEN_CLASSES else ()),
        height=120 + 22 * len(order),
    )


def block_matrix(model: StudyModel, found: ClassBlocks, labels: Sequence[str]) -> Figure:
    """Draw the confusion matrix of a model with blocks of classes as rows and columns."""
    names = [
        f"{labels[block[0]]} … {labels[block[-1]]}" if len(block) > 1 else labels[block[0]] for block in found.blocks
    ]
    return Figure(
        alt=f"Confusion matrix of {model.title} with {len(labels)} classes in {len(names)} blocks, normalised by row.",
        x=Axis("predicted classes"),
        y=Axis("true classes"),
        heatmap=Heatmap(found.shares.tolist(), names, names),
        height=120 + 22 * len(names),
    )
