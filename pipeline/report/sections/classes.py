"""Classes: the score of each model on each class, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heads.evaluation.scores import CLASS_SCORES
from pipeline.report.analysis.class_table import shown_classes
from pipeline.report.analysis.clips import tested_rows
from pipeline.report.analysis.confusions import (
    DECISIONS,
    Confusions,
    alike_together,
    confusions,
    decisions,
    hardest_first,
    largest,
)
from pipeline.report.analysis.outcomes import Outcomes, outcomes
from pipeline.report.figure import Axis, Figure, Heatmap, Series
from pipeline.report.section import Section
from pipeline.report.study import Study, StudyModel

KEY = "classes"
WRITTEN_CLASSES = 20  # a saved confusion matrix shows its counts up to this many classes


def section(study: Study) -> Section:
    """Build a table of classes by models and the confusions. For regression, plot predicted against true values."""
    ids = study.manifest.clips["id"].iloc[tested_rows(study)].tolist()
    found = [outcomes(model.predictions, ids) for model in study.learned]
    return _of_numbers(study, found) if study.manifest.task == "regression" else _of_classes(study, found)


def _of_classes(study: Study, found: Sequence[Outcomes]) -> Section:
    single, labels = study.manifest.task == "single-label", study.manifest.labels
    matrices = [confusions(model) if single else decisions(model) for model in found]
    scores = [class_scores(model, labels) for model in study.learned]
    totals = matrices[0].totals
    order = order_of_classes(study, scores)
    measure = CLASS_SCORES[study.manifest.task].heading
    best = study.learned[0]
    figures = {"scores": _heatmap(study, scores, order, measure)}
    if single:
        figures["confusions"] = _printed_matrix(best, matrices[0], labels)
    return Section(
        key=KEY,
        title="Classes",
        template="classes.html",
        context={
            "measure": measure,
            "single": single,
            "models": [model.title for model in study.learned],
            "of_models": [shown_classes(model) for model in study.learned],
            "controls": [model.title for model in study.learned if model.is_control],
            "repetitions": [len(model.probabilities) for model in found],
            "rows": [
                {
                    "number": at,
                    "label": labels[at],
                    "clips": int(totals[at]),
                    "cells": [_cell(one.get(at), labels[at], int(totals[at]), measure) for one in scores],
                }
                for at in order
            ],
        },
        figures=figures,
        data={
            "measure": measure,
            "columns": None if single else DECISIONS,
            "totals": totals,
            "models": [_matrix_json(one, single) for one in matrices],
        },
    )


def class_scores(model: StudyModel, labels: Sequence[str]) -> dict[int, tuple[float, float | None, float | None]]:
    """Return the score of each tested class by class number: (score, low, high).

    The score is accuracy, or average precision for `multi-label` data, from `results.json`. Ends of the interval are
    None if it was not stored.
    """
    name = next(score.name for score in CLASS_SCORES.values() if score.name in model.details)
    values: Mapping[str, float] = model.details[name]
    intervals: Mapping[str, Sequence[float]] = model.details.get(f"{name}_ci", {})
    return {
        number: (values[label], *(intervals.get(label) or (None, None)))
        for number, label in enumerate(labels)
        if label in values
    }


def order_of_classes(study: Study, scores: Sequence[Mapping[int, tuple[Any, ...]]]) -> list[int]:
    """Return the tested classes, lowest mean score first; untrained controls count only if there are no others."""
    counting = [one for model, one in zip(study.learned, scores, strict=True) if not model.is_control] or scores
    means = {at: float(np.mean([one[at][0] for one in counting])) for at in counting[0]}
    return sorted(means, key=lambda at: (round(means[at], 9), at))


def _cell(score: tuple[float, float | None, float | None] | None, label: str, clips: int, measure: str) -> Any:
    """Return a cell of the table: its value, text and tooltip."""
    if score is None:
        return None
    value, low, high = score
    interval = "" if low is None else f", 95 % interval {low:.2f} to {high:.2f}"
    return {"value": round(value, 4), "text": f"{value:.2f}", "note": f"{label}: {measure} {value:.3f}{interval}"}


def _matrix_json(found: Confusions, single: bool) -> dict[str, Any]:
    orders = {"hardest": hardest_first(found)} | ({"alike": alike_together(found)} if single else {})
    return {
        "cells": [
            [row, column, round(found.counts[row, column], 3), own] for (row, column), own in found.clips.items()
        ],
        "ranked": largest(found),
        "orders": orders,
    }


def _heatmap(study: Study, scores: Sequence[Mapping[int, tuple[Any, ...]]], order: Sequence[int], what: str) -> Figure:
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


def _printed_matrix(model: StudyModel, found: Confusions, labels: Sequence[str]) -> Figure:
    """Draw the confusion matrix of the best model, for papers."""
    order = alike_together(found)
    names = [labels[at] for at in order]
    shares, counts = found.shares[np.ix_(order, order)], found.counts[np.ix_(order, order)]
    texts = [[f"{count:.3g}" if count else "" for count in row] for row in counts]
    return Figure(
        alt=f"Confusion matrix of {model.title}, normalised by row (true class).",
        x=Axis("predicted class"),
        y=Axis("true class"),
        heatmap=Heatmap(shares.tolist(), names, names, texts if len(names) <= WRITTEN_CLASSES else ()),
        height=120 + 22 * len(order),
    )


def _of_numbers(study: Study, found: Sequence[Outcomes]) -> Section:
    """Plot predicted against true values, one chart per model."""
    ids = study.manifest.clips["id"].iloc[tested_rows(study)].tolist()
    figures = {
        f"values-{number}": _scatter(model, one, ids)
        for number, (model, one) in enumerate(zip(study.learned, found, strict=True), 1)
    }
    return Section(
        key=KEY,
        title="Values",
        template="values.html",
        context={"models": [model.title for model in study.learned], "charts": list(figures)},
        figures=figures,
    )


def _scatter(model: StudyModel, found: Outcomes, ids: Sequence[str]) -> Figure:
    predicted, truth = found.predicted.mean(axis=0), found.targets
    low, high = float(min(predicted.min(), truth.min())), float(max(predicted.max(), truth.max()))
    notes = [
        f"{clip}\ntrue {true:.4g}, predicted {own:.4g}" for clip, true, own in zip(ids, truth, predicted, strict=True)
    ]
    return Figure(
        alt=f"Predicted against true values of {len(ids)} clips, {model.title}. Both are equal on the dashed line.",
        x=Axis("true value"),
        y=Axis("predicted value, mean of seeds" if len(found.probabilities) > 1 else "predicted value"),
        series=(
            Series("", [low, high], [low, high], mark="line", dashed=True),
            Series(model.title, truth.tolist(), predicted.tolist(), notes=notes, clips=list(range(len(ids)))),
        ),
    )
