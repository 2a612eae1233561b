"""Classes: the score of each model on each class, and the confusion matrix."""

from __future__ import annotations

from typing import Any

from heads.evaluation.scores import CLASS_SCORES
from pipeline.report.analysis.class_scores import class_scores, matrices_of, order_of_classes
from pipeline.report.analysis.class_table import shown_classes
from pipeline.report.analysis.samples import clips_per_cell
from pipeline.report.outcomes.confusions import DECISIONS, Confusions, alike_together, hardest_first, largest
from pipeline.report.section import Section
from pipeline.report.sections import many_classes, values
from pipeline.report.sections.class_figures import printed_matrix, score_heatmap
from pipeline.report.study import Study

KEY = "classes"
MOST_CLASSES = 100  # matrices of more classes are summarised, see `many_classes`


def section(study: Study) -> Section:
    """Build a table of classes by models and the confusions. For regression, plot predicted against true values."""
    if study.manifest.task == "regression":
        return values.section(study)
    return many_classes.section(study) if len(study.manifest.labels) > MOST_CLASSES else _section(study)


def _section(study: Study) -> Section:
    single, labels = study.manifest.task == "single-label", study.manifest.labels
    matrices = matrices_of(study)
    most = clips_per_cell(study, matrices)
    scores = [class_scores(model, labels) for model in study.learned]
    totals = matrices[0].totals
    order = order_of_classes(study, scores)
    measure = CLASS_SCORES[study.manifest.task].heading
    best = study.learned[0]
    figures = {"scores": score_heatmap(study, scores, order, measure)}
    if single:
        figures["confusions"] = printed_matrix(best, matrices[0], labels)
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
            "repetitions": [model.outcomes.n_repetitions for model in study.learned],
            "most_clips": most,
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
            "models": [_matrix_json(one, most) for one in matrices],
        },
        clips={clip for one in matrices for cell in range(len(one)) for clip in one.clips_of(cell, most)},
    )


def _cell(score: tuple[float, float | None, float | None] | None, label: str, clips: int, measure: str) -> Any:
    """Return a cell of the table: its value, text and tooltip."""
    if score is None:
        return None
    value, low, high = score
    interval = "" if low is None else f", 95 % interval {low:.2f} to {high:.2f}"
    return {"value": round(value, 4), "text": f"{value:.2f}", "note": f"{label}: {measure} {value:.3f}{interval}"}


def _matrix_json(found: Confusions, most: int | None) -> dict[str, Any]:
    orders = {"hardest": hardest_first(found)} | ({"alike": alike_together(found)} if found.is_square else {})
    cells = zip(found.rows.tolist(), found.columns.tolist(), found.counts.round(3).tolist(), strict=True)
    return {
        "cells": [[*cell, found.clips_of(at, most)] for at, cell in enumerate(cells)],
        "ranked": [[int(found.rows[at]), int(found.columns[at])] for at in largest(found)],
        "orders": orders,
    }
