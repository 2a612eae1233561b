"""Classes, if there are more than fit into a matrix: frequent errors, blocks of classes, and a table to search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from heads.evaluation.scores import CLASS_SCORES
from pipeline.report.analysis.class_blocks import ClassBlocks, class_blocks
from pipeline.report.analysis.class_scores import class_scores, matrices_of, order_of_classes
from pipeline.report.analysis.class_table import MEASURES, class_values
from pipeline.report.analysis.samples import listed_clips
from pipeline.report.figure import Figure
from pipeline.report.outcomes.confusions import DECISIONS, Confusions, largest
from pipeline.report.section import Section
from pipeline.report.sections.class_figures import block_matrix, score_heatmap
from pipeline.report.study import Study

MOST_ERRORS = 100_000  # cells of the matrices of all models in the page
MOST_VALUES = 500_000  # scores of classes by all models in the page
CLIPS_PER_ERROR = 10
DRAWN_CLASSES = 50  # hardest classes in the saved figure


def section(study: Study) -> Section:
    """Build the most frequent errors, a matrix of blocks of classes, and the scores of the classes."""
    single, labels = study.manifest.task == "single-label", study.manifest.labels
    matrices = matrices_of(study)
    scores = [class_scores(model, labels) for model in study.learned]
    order = order_of_classes(study, scores)
    measure = CLASS_SCORES[study.manifest.task].heading
    fields = [f"{measure} (recall)", "precision", "F1"] if single else [measure, "precision", "recall", "F1"]
    shown = order[: MOST_VALUES // (len(fields) * len(matrices))]
    blocks = [class_blocks(one) if single else None for one in matrices]
    figures: dict[str, Figure] = {"scores": score_heatmap(study, scores, order[:DRAWN_CLASSES], measure)}
    if blocks[0] is not None:
        figures["confusions"] = block_matrix(study.learned[0], blocks[0], labels)
    most_errors = max(1, MOST_ERRORS // len(matrices))
    most_clips = listed_clips(study) // 2 // len(matrices)
    models = [
        _errors_json(matrix, most_errors, most_clips)
        | _blocks_json(own)
        | {"values": [_values(score.get(at), class_values(model), labels[at], single) for at in shown]}
        for model, matrix, own, score in zip(study.learned, matrices, blocks, scores, strict=True)
    ]
    return Section(
        key="classes",
        title="Classes",
        template="many_classes.html",
        context={
            "single": single,
            "measure": measure,
            "models": [model.title for model in study.learned],
            "repetitions": [model.outcomes.n_repetitions for model in study.learned],
            "fields": fields,
            "n_classes": len(order),
            "n_shown": len(shown),
            "n_blocks": len(blocks[0].blocks) if blocks[0] is not None else 0,
            "most_errors": most_errors,
            "is_cut": any(len(own["cells"]) < own["n_errors"] for own in models),
        },
        figures=figures,
        data={
            "is_summary": True,
            "columns": None if single else DECISIONS,
            "totals": matrices[0].totals,
            "order": shown,
            "models": models,
        },
        clips={clip for own in models for cell in own["cells"] for clip in cell[3]},
    )


def _errors_json(found: Confusions, most: int, most_clips: int) -> dict[str, Any]:
    """Return the most frequent errors of one model, and clips of the first ones."""
    ranked = largest(found, None)
    listed = np.minimum(np.diff(found.starts)[ranked], CLIPS_PER_ERROR)
    listed[np.cumsum(listed) > most_clips] = 0
    cells = [
        [
            int(found.rows[at]),
            int(found.columns[at]),
            round(float(found.counts[at]), 3),
            found.clips_of(at, int(clips)),
        ]
        for at, clips in zip(ranked[:most], listed[:most], strict=True)
    ]
    return {"cells": cells, "ranked": [cell[:2] for cell in cells[:1]], "n_errors": len(ranked)}


def _blocks_json(found: ClassBlocks | None) -> dict[str, Any]:
    if found is None:
        return {}
    rows, columns = np.nonzero(np.nan_to_num(found.shares))
    shares = found.shares[rows, columns].round(4)
    return {
        "blocks": found.blocks,
        "shares": [list(cell) for cell in zip(rows.tolist(), columns.tolist(), shares.tolist(), strict=True)],
    }


def _values(
    score: tuple[Any, ...] | None, classes: Mapping[str, Mapping[str, Any]], label: str, single: bool
) -> list[float | None]:
    """Return the scores of one class, in the order of the columns of the table."""
    found = classes.get(label, {})
    measures = [name for name in MEASURES if name != "recall" or not single]
    known = [score[0] if score else None, *(found[name][0] if found.get(name) else None for name in measures)]
    return [None if value is None else round(float(value), 3) for value in known]
