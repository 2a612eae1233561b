"""Precision, recall and F1 of each class by every model: `classes.csv`, and the table in the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.report.study import Study, StudyModel

MEASURES = ("precision", "recall", "f1")
ABOUT = ("dataset", "model", "weights", "layer", "pooling", "head", "protocol")
COLUMNS = (
    *ABOUT,
    "class",
    "support",
    *(f"{measure}{end}" for measure in MEASURES for end in ("", "_ci_low", "_ci_high")),
)


def class_table(study: Study) -> pd.DataFrame:
    """Return one row per model and class, models in the order of the results table; empty for regression.

    A cell is empty if the score is not defined: the precision of a class that is never predicted, or the recall and F1
    of a class without test clips.
    """
    rows = [
        {**{name: model.row[name] for name in ABOUT}, "class": label, **_cells(found)}
        for model in study.models
        for label, found in class_values(model).items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"support": int})


def shown_classes(model: StudyModel) -> list[tuple[str, ...]]:
    """Return the rows of one model for the page: class, test clips, and each score with its interval."""
    return [
        (label, str(found["support"]), *(_text(found[measure]) for measure in MEASURES))
        for label, found in class_values(model).items()
    ]


def class_values(model: StudyModel) -> Mapping[str, Mapping[str, Any]]:
    """Return `support` and each of `MEASURES` with its interval, by class; empty for regression."""
    return model.details.get("classes", {})


def _cells(found: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {"support": found["support"]}
    for measure in MEASURES:
        names = (measure, f"{measure}_ci_low", f"{measure}_ci_high")
        cells |= dict(zip(names, found[measure] or (None, None, None), strict=True))
    return cells


def _text(estimate: tuple[float, float, float] | None) -> str:
    return "–" if estimate is None else "{:.3f} ({:.3f}–{:.3f})".format(*estimate)
