"""Thresholds: what each threshold gives on test clips, the chosen ones, and accuracy against coverage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.decisions import entries_of
from pipeline.report.figure import Axis, Figure, Series
from pipeline.report.section import Section
from pipeline.report.sections.decisions.lines import line_of
from pipeline.report.sections.decisions.texts import MISSING, estimate_text, number_text
from pipeline.report.study import Study, StudyModel
from pipeline.results.decisions.threshold_rows import CLASS, MACRO, MICRO, MOST_CURVES, RATES

RANKINGS = {"roc_auc": "ROC-AUC", "average_precision": "average precision", "equal_error_rate": "equal error rate"}
LISTED = 20  # classes in the table if there are more than `MOST_CURVES`
DIGITS = 4  # of the rates in the page
SCOPES = {MICRO: "all decisions together", MACRO: "mean over classes"}


def section(study: Study) -> Section | None:
    """Build the rates along the threshold and the tables of scores; None for regression."""
    every = study.decisions.thresholds.to_dict("records")
    found = [
        (model, entries[0], entries_of(every, model.row))
        for model in study.learned
        if (entries := entries_of(study.decisions.threshold_entries, model.row))
    ]
    if not found:
        return None
    best, curves, rows = found[0]
    figures = {"rates": _rates(best, curves, rows)}
    coverage = _coverage(study)
    if coverage is not None:
        figures["coverage"] = coverage
    rule = next((row["rule"] for _, _, own in found for row in own if _is_known(row.get("rule"))), "")
    n_classes = sum(row["scope"] == CLASS for row in rows)
    return Section(
        key="thresholds",
        title="Thresholds",
        template="thresholds.html",
        context={
            "single": study.manifest.task == "single-label",
            "models": [model.title for model, _, _ in found],
            "views": [SCOPES[MICRO], *curves.get("classes", {})],
            "rates": {name: _rate_title(name) for name in RATES},
            "rankings": RANKINGS,
            "tables": [_table(own) for _, _, own in found],
            "rule": rule,
            "below": study.config.operating_point and study.config.operating_point.below,
            "n_classes": n_classes,
            "n_listed": LISTED if n_classes > MOST_CURVES else n_classes,
            "most_curves": MOST_CURVES,
        },
        figures=figures,
        data={
            "thresholds": curves["thresholds"],
            "rates": list(RATES),
            "models": [_views(entry, own) for _, entry, own in found],
        },
    )


def _views(entry: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the slider shows of one model: all decisions together, then each class that has curves."""
    every = [[point[rate] or (None, None, None) for point in entry[MICRO]] for rate in RATES]
    shown = [
        {"values": _rounded(values), "low": _rounded(low), "high": _rounded(high)}
        for values, low, high in (zip(*one, strict=True) for one in every)
    ]
    views = [{"curves": shown, "chosen": _chosen(next(row for row in rows if row["scope"] == MICRO))}]
    of_class = {row["class"]: row for row in rows if row["scope"] == CLASS}
    for label, curves in entry.get("classes", {}).items():
        curves_of_class = [{"values": _rounded(curves[rate])} for rate in RATES]
        views.append({"curves": curves_of_class, "chosen": _chosen(of_class[label])})
    return views


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [round(value, DIGITS) if _is_known(value) else None for value in values]  # type: ignore[arg-type]


def _is_known(value: Any) -> bool:
    """Return whether a cell of a table, or a rate, has a value."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _chosen(row: Mapping[str, Any]) -> float | None:
    """Return the mean of the fits' thresholds; None if none was chosen."""
    return round(float(row["threshold"]), DIGITS) if _is_known(row.get("threshold")) else None


def _table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the table of one model; of many classes, those with the lowest average precision."""
    classes = [row for row in rows if row["scope"] == CLASS]
    if len(classes) > MOST_CURVES:
        classes = sorted(classes, key=lambda row: _sortable(row["average_precision"]))[:LISTED]
    return [_line(row) for row in (*(row for row in rows if row["scope"] != CLASS), *classes)]


def _sortable(value: float | None) -> float:
    return float(value) if _is_known(value) else math.inf  # type: ignore[arg-type]


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    names = [*RANKINGS, *RATES]
    return {
        "label": SCOPES.get(row["scope"], row["class"]),
        "is_class": row["scope"] == CLASS,
        "support": row["support"],
        "cells": {
            name: (row.get(name) if _is_known(row.get(name)) else "", estimate_text(row, name)) for name in names
        },
        "threshold": _threshold_text(row),
        "met": f"{row['fits_met']} of {row['fits']}" if _is_known(row.get("threshold")) else MISSING,
        "gaps": {rate: _gap_text(row.get(f"{rate}_gap")) for rate in RATES},
    }


def _threshold_text(row: Mapping[str, Any]) -> str:
    """Return the mean threshold of the fits and their range: `0.43 (0.38–0.51)`."""
    if not _is_known(row.get("threshold")):
        return MISSING
    return "{threshold:.2f} ({threshold_min:.2f}–{threshold_max:.2f})".format(**row)


def _gap_text(gap: float | None) -> str:
    return f"{gap:+.3f}" if _is_known(gap) else MISSING


def _rate_title(name: str) -> str:
    return name.replace("_", " ")


def _rates(model: StudyModel, entry: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot the rates of all decisions of one model over the threshold."""
    series = []
    for name in RATES:
        values, low, high = zip(*(point[name] or (math.nan,) * 3 for point in entry[MICRO]), strict=True)
        series.append(Series(_rate_title(name), entry["thresholds"], values, "line", low, high))
    chosen = _chosen(next(row for row in rows if row["scope"] == MICRO))
    if chosen is not None:
        series.append(Series("chosen on validation clips", [chosen, chosen], [0, 1], mark="line", dashed=True))
    marked = "" if chosen is None else f" The chosen threshold is {chosen:.2f}."
    return Figure(
        alt=f"Precision, recall and false positive rate of {model.title} over the threshold, all decisions together."
        + marked,
        x=Axis("threshold", range=(0, 1)),
        y=Axis("rate on test clips", range=(-0.02, 1.02)),
        series=series,
        height=360,
    )


def _coverage(study: Study) -> Figure | None:
    """Plot accuracy over the share of clips that are answered; None unless clips have one class each."""
    series = []
    for model in study.learned:
        for entry in entries_of(study.decisions.calibration_entries, model.row):
            if entry["applied"] and "accuracy_by_coverage" in entry:
                series.append(_coverage_line(model, entry["accuracy_by_coverage"]))
    if not series:
        return None
    ends = "; ".join(f"{one.name} from {one.y[-1]:.3f} to {one.y[0]:.3f}" for one in series)
    return Figure(
        alt=f"Accuracy over the share of clips that are answered, from all clips to the most certain ones: {ends}.",
        x=Axis("share of clips answered", range=(0, 1.02)),
        y=Axis("accuracy on them (95 % interval)"),
        series=series,
    )


def _coverage_line(model: StudyModel, points: Sequence[Mapping[str, Any]]) -> Series:
    notes = [
        f"{model.title}\n{100 * point['coverage']:g} % answered, probability at least "
        f"{number_text(point['threshold'])}\naccuracy {point['accuracy'][0]:.3f} "
        f"({point['accuracy'][1]:.3f}–{point['accuracy'][2]:.3f})"
        for point in points
    ]
    x, estimates = [point["coverage"] for point in points], [point["accuracy"] for point in points]
    return line_of(model, model.title, x, estimates, notes)
