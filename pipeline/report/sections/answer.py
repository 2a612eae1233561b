"""Results: the answer in three lines, then the results table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heads.evaluation.majority import ANSWERS
from pipeline.report.analysis.caveats import caveats
from pipeline.report.analysis.verdict import verdict
from pipeline.report.section import Section
from pipeline.report.study import Study, StudyModel
from pipeline.results.table import NUMBERS, counted, headings, legend, shown_rows

BALANCED = "balanced_accuracy"
STEP = 0.05  # the scale of the interval bars starts and ends at multiples of this


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes:
        text: The text shown.
        sort: Sort key; None sorts by the text.
        is_number: Whether the cell is right-aligned.
    """

    text: str
    sort: float | str | None
    is_number: bool


@dataclass(frozen=True)
class Bar:
    """An interval drawn to scale: its ends and the score, in percent of the scale."""

    low: float
    high: float
    at: float


@dataclass(frozen=True)
class Row:
    """One model in the table.

    Attributes:
        cells: One cell per heading.
        bar: Its interval; None if it is not finite.
        family: The column of `results.csv`.
        head: The column of `results.csv`.
        mark: `best`, `tied` or empty.
        is_control: Whether it is an untrained control.
        is_baseline: Whether it is the majority row.
    """

    cells: tuple[Cell, ...]
    bar: Bar | None
    family: str
    head: str
    mark: str
    is_control: bool
    is_baseline: bool


def section(study: Study) -> Section:
    """Build the results section: the answer and a sortable, filterable table of all models."""
    shown = _more_scores(headings(study.table), study)
    ordered = _ordered(shown)
    scale = _scale(study)
    texts = [dict(zip(headings(study.table), line, strict=True)) for line in shown_rows(study.table)]
    failed = len(study.failures)
    return Section(
        key="answer",
        title="Results",
        template="answer.html",
        context={
            "lines": verdict(study),
            "caveats": caveats(study),
            "headings": {key: (heading, _is_number(key, heading)) for key, heading in ordered.items()},
            "interval": "value_interval" if "metric" in study.table else "interval",
            "scale": [f"{end:.2f}" for end in scale],
            "rows": [_row(model, line, ordered, scale) for model, line in zip(study.models, texts, strict=True)],
            "families": sorted({str(model.row["family"]) for model in study.models}),
            "heads": sorted({str(model.row["head"]) for model in study.learned}),
            "legend": legend(study.table),
            "baseline": study.baseline.row["model"] if study.baseline else "",
            "baseline_answers": ANSWERS[study.manifest.task],
            "has_controls": any(model.is_control for model in study.models),
            "failed": counted(failed, "clip") if failed else "",
            "n_clips": len(study.manifest),
            "n_test": int(study.models[0].row["n_test"]),
            "warnings": study.warnings,
            "protocol": study.learned[0].row["protocol"],
            "folds": counted(int(study.models[0].row["n_folds"]), "fold"),
            "seeds": counted(int(study.models[0].row["n_seeds"]), "seed"),
            "dataset": study.manifest.name,
        },
    )


def _row(model: StudyModel, texts: Mapping[str, str], shown: Mapping[str, str], scale: tuple[float, float]) -> Row:
    key = "value" if model.row.get("metric") else "accuracy"
    low, at, high = (float(model.row[name]) for name in (f"{key}_ci_low", key, f"{key}_ci_high"))
    bar = Bar(*(100 * (end - scale[0]) / (scale[1] - scale[0]) for end in (low, high, at)))
    texts = {"family": str(model.row["family"]), **texts}
    if BALANCED in shown:
        texts[BALANCED] = f"{model.row[BALANCED]:.3f}"
    return Row(
        cells=tuple(Cell(texts[name], _sort(model.row, name), _is_number(name, shown[name])) for name in shown),
        bar=bar if all(map(math.isfinite, (low, at, high))) else None,
        family=str(model.row["family"]),
        head=str(model.row["head"]),
        mark=texts["tied"],
        is_control=model.is_control,
        is_baseline=model.is_baseline,
    )


def _more_scores(shown: Mapping[str, str], study: Study) -> dict[str, str]:
    """Return the headings with that of balanced accuracy before macro F1, if the table has it."""
    more = {BALANCED: "balanced accuracy"} if BALANCED in study.table else {}
    keys = list(shown)
    at = keys.index("macro_f1") if "macro_f1" in keys else len(keys)
    return {**{key: shown[key] for key in keys[:at]}, **more, **{key: shown[key] for key in keys[at:]}}


def _is_number(key: str, heading: str) -> bool:
    return heading in NUMBERS or key == BALANCED


def _ordered(shown: Mapping[str, str]) -> dict[str, str]:
    """Return the headings of `results.md` plus the family; scores come before details."""
    score = "value" if "value" in shown else "accuracy"
    first = ["model", "head", "tied", "metric", score, "value_interval", "interval"]
    named = {"family": "family", **shown}
    return {key: named[key] for key in (*first, *named) if key in named}


def _sort(row: Mapping[str, Any], name: str) -> float | str | None:
    """Return the sort key of a cell; None sorts by its text."""
    if name in ("interval", "value_interval"):
        name = "accuracy_ci_low" if name == "interval" else "value_ci_low"
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else ""


def _scale(study: Study) -> tuple[float, float]:
    """Return the ends of the bars' scale, just wide enough for every interval."""
    key = "value" if study.models[0].row.get("metric") else "accuracy"
    ends = [float(model.row[f"{key}_ci_{end}"]) for model in study.models for end in ("low", "high")]
    known = [end for end in ends if math.isfinite(end)] or [0.0, 1.0]
    low, high = math.floor(min(known) / STEP) * STEP, math.ceil(max(known) / STEP) * STEP
    return low, high if high > low else low + STEP
