"""Unknown sounds: how well a model tells its classes from one that it was not trained on."""

from __future__ import annotations

from typing import Any

from pipeline.report.decisions import entries_of
from pipeline.report.open_set import MEAN
from pipeline.report.section import Section
from pipeline.report.sections.decisions.texts import estimate_text
from pipeline.report.study import Study
from pipeline.stages.open_set.scores_table import SCORES

TITLES = {"max_probability": "highest probability", "energy": "energy"}
MOST_LISTED = 50  # classes in the table of a model; of more, those that are hardest to tell apart


def section(study: Study) -> Section | None:
    """Build a table of areas under the ROC curve per model; None unless the experiment sets `open_set`."""
    found = [(model, own) for model in study.learned if (own := entries_of(study.open_set.rows, model.row))]
    if not found:
        return None
    return Section(
        key="unknown-sounds",
        title="Unknown sounds",
        template="unknown_sounds.html",
        context={
            "scores": [TITLES[name] for name in SCORES],
            "means": [(model.title, _cells(own[0])) for model, own in found],
            "models": [model.title for model, _ in found],
            "tables": [_classes(own) for _, own in found],
            "n_classes": len(found[0][1]) - 1,
            "most_listed": MOST_LISTED,
        },
    )


def _cells(row: dict[str, Any]) -> list[tuple[float | str, str]]:
    """Return sort key and text of the cell of each score."""
    values = [(row[f"auroc_{name}"], estimate_text(row, f"auroc_{name}")) for name in SCORES]
    return [("" if value is None else value, text) for value, text in values]


def _classes(rows: list[dict[str, Any]]) -> list[tuple[str, int, list[tuple[float | str, str]]]]:
    """Return label, number of test clips and cells of each class that was left out, hardest first."""
    classes = sorted((row for row in rows if row["scope"] != MEAN), key=lambda row: row[f"auroc_{SCORES[0]}"])
    return [(row["class"], row["support"], _cells(row)) for row in classes[:MOST_LISTED]]
