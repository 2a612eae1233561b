"""False alarms: how often models decide a class in recordings of background, and the loudest such windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.recordings.background import Background
from pipeline.report.false_alarms import FalseAlarmTables, ModelFalseAlarms
from pipeline.report.section import Section
from pipeline.report.study import Study
from pipeline.results.decisions.false_alarm_rows import ALL, CLASS

MOST_CLASSES = 20  # of a model in the page


def section(study: Study) -> Section | None:
    """List false alarms per hour of each model and class; None if the experiment has no background."""
    tables, background = study.false_alarms, study.inputs.background
    if background is None or not (tables.models or tables.notes):
        return None
    return Section(
        key="false-alarms",
        title="False alarms",
        template="false_alarms.html",
        context={
            "overall": [_cells(model.title, row) for model in tables.models for row in _scope(model, ALL)],
            "recordings": background.recordings_of(tables.windows),
            "window_s": background.cut.window_s,
            "hop_s": background.cut.hop_s,
            "parts": study.config.background_in,
            "models": [model.title for model in tables.models],
            "classes": [_classes(model) for model in tables.models],
            "loudest": [_loudest(model, tables, background) for model in tables.models],
            "notes": tables.notes,
        },
        windows=sorted({int(tables.windows[one.window]) for model in tables.models for one in model.loudest}),
    )


def _scope(model: ModelFalseAlarms, scope: str) -> list[Mapping[str, Any]]:
    return [row for row in model.rows if row["scope"] == scope]


def _cells(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a row of the page: name, rule, false alarms per hour with the interval, events per hour, and counts."""
    low, high = row["false_alarms_per_hour_ci_low"], row["false_alarms_per_hour_ci_high"]
    return (
        name,
        f"{row['rule']}, mean of folds" if row["averaged"] else str(row["rule"]),
        f"{_rate(row['false_alarms_per_hour'])} ({_rate(low)}–{_rate(high)})",
        _rate(row["events_per_hour"]),
        f"{row['false_alarms']:.4g}",
        f"{row['share_of_windows']:.1%}",
    )


def _classes(model: ModelFalseAlarms) -> dict[str, Any]:
    """Return the classes with the most false alarms at the thresholds of a model."""
    rows = _scope(model, CLASS)
    shown = model.rows[0]["rule"], False
    own = [row for row in rows if (row["rule"], row["averaged"]) == shown]
    ranked = sorted(own, key=lambda row: -row["false_alarms"])
    return {
        "rows": [_cells(str(row["class"]), row) for row in ranked[:MOST_CLASSES]],
        "n_classes": len(ranked),
    }


def _loudest(model: ModelFalseAlarms, tables: FalseAlarmTables, background: Background) -> list[dict[str, Any]]:
    """Return the most probable false alarms of a model."""
    found = []
    for one in model.loudest:
        window = int(tables.windows[one.window])
        found.append(
            {
                "window": window,
                "recording": str(background.stretches[window]),
                "span": f"{background.starts_s[window]:.2f}–{background.ends_s[window]:.2f} s",
                "label": tables.labels[one.label],
                "score": f"{one.score:.3f}",
                "fits": one.fits,
            }
        )
    return found


def _rate(value: float) -> str:
    """Format a rate with three digits."""
    if value < 0.001:
        return "0"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
