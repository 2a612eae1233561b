"""Calibration: how well probabilities hold, without and with a map fitted on validation clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report.decisions import entries_of
from pipeline.report.figure import Axis, Figure, Series
from pipeline.report.section import Section
from pipeline.report.sections.decisions.lines import line_of
from pipeline.report.sections.decisions.texts import estimate_text, number_text
from pipeline.report.study import Study, StudyModel
from pipeline.results.decisions.calibration_rows import NONE

SCORES = {"ece": "ECE", "adaptive_ece": "adaptive ECE", "brier": "Brier score", "log_loss": "log loss"}


def section(study: Study) -> Section | None:
    """Build the table of calibration scores and the reliability curves; None for regression."""
    entries = [(model, entries_of(study.decisions.calibration_entries, model.row)) for model in study.models]
    found = [(model, own) for model, own in entries if own]
    learned = [(model, own) for model, own in found if not model.is_baseline]
    if not learned:
        return None
    majority = next((own[0]["log_loss_majority"] for _, own in learned), None)
    return Section(
        key="calibration",
        title="Calibration",
        template="calibration.html",
        context={
            "single": study.manifest.task == "single-label",
            "scores": SCORES,
            "rows": [_row(model, entry) for model, own in found for entry in own],
            "models": [model.title for model, _ in learned],
            "charts": [_chart_name(number) for number in range(len(learned))],
            "majority": majority,
            "worse": [model.title for model, own in learned if majority is not None and _applied(own) > majority],
            "is_mapped": any(entry["applied"] and entry["calibration"] != NONE for _, own in learned for entry in own),
        },
        figures={_chart_name(number): _reliability(*pair) for number, pair in enumerate(learned)},
    )


def _chart_name(number: int) -> str:
    return f"reliability-{number + 1}"


def _applied(entries: Sequence[Mapping[str, Any]]) -> float:
    """Return the log loss with the map that the saved model applies."""
    return next(float(entry["log_loss"]) for entry in entries if entry["applied"])


def _row(model: StudyModel, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "title": model.title,
        "map": entry["calibration"],
        "mark": "" if entry["calibration"] == NONE else "applied" if entry["applied"] else "for comparison",
        "scores": [(entry[name], estimate_text(entry, name)) for name in SCORES],
        "temperature": number_text(entry["temperature"]),
        "accuracy": number_text(entry.get("accuracy")),
    }


def _reliability(model: StudyModel, entries: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot how often decisions are true over their mean probability, in bins, one line per map."""
    errors = ", ".join(f"{entry['ece']:.3f} {_name(entry)}" for entry in entries)
    return Figure(
        alt=f"Reliability curve of {model.title}: the fraction of decisions that are true over their probability. "
        f"Expected calibration error: {errors}. A calibrated model follows the dashed diagonal.",
        x=Axis("mean probability in the bin", range=(0, 1)),
        y=Axis("fraction true (95 % interval)", range=(-0.02, 1.02)),
        series=(
            Series("", [0, 1], [0, 1], mark="line", dashed=True),
            *(_line(entry, model) for entry in entries),
        ),
        height=420,
    )


def _line(entry: Mapping[str, Any], model: StudyModel) -> Series:
    bins = entry["reliability"]
    notes = [
        f"{_name(entry)}\n{one['low']:g}–{one['high']:g}: {one['count']:g} decisions\n"
        f"mean probability {one['predicted']:.3f}, true {one['observed'][0]:.3f} "
        f"({one['observed'][1]:.3f}–{one['observed'][2]:.3f})"
        for one in bins
    ]
    return line_of(model, _name(entry), [one["predicted"] for one in bins], [one["observed"] for one in bins], notes)


def _name(entry: Mapping[str, Any]) -> str:
    return "without a map" if entry["calibration"] == NONE else f"with {entry['calibration']}"
