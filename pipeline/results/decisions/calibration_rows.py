"""Calibration of trained models: rows of `calibration.csv`, entries of `calibration.json`, columns of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from heads.evaluation import metrics
from heads.evaluation.class_scores import Estimate
from heads.evaluation.decisions.abstention import coverage_curve
from heads.evaluation.decisions.calibration import CalibrationFigures, calibration_figures
from heads.evaluation.decisions.calibrators import METHODS, Method, Temperature
from heads.evaluation.predictions import Predictions
from pipeline.results.decisions.fit_decisions import FitDecisions, FitKey, calibrated, fit_decisions

NONE = "none"
SHOWN: Method = "temperature"  # computed for every model, for comparison


@dataclass(frozen=True)
class CalibrationOfModel:
    """The calibration of one model.

    Attributes:
        rows: Its rows of `calibration.csv`, one per map; the first is without a map.
        entries: Its entries of `calibration.json`: the rows with the reliability curve and, for one class per clip,
            the accuracy against coverage.
        columns: Its columns of the results table.
    """

    rows: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    columns: dict[str, Any]


def calibration_of_model(
    predictions: Sequence[Predictions],
    pooled: Sequence[Predictions],
    validation: Sequence[Predictions],
    decisions: Mapping[FitKey, FitDecisions],
    groups: np.ndarray,
    *,
    majority: float | None = None,
) -> CalibrationOfModel:
    """Compute the calibration of one model's test predictions without a map, with a temperature, and as configured.

    Args:
        predictions: Test predictions of a model for classes, all folds and repetitions.
        pooled: The same pooled over folds, from `heads.evaluation.metrics.pool`.
        validation: Validation predictions of the same fits; without them there are no maps.
        decisions: The stored decisions of the fits, with the maps that the saved model applies; empty if it has none.
        groups: Group of each test clip, shape (n,), clips in the order of their ids.
        majority: Log loss of the majority row, if it is known.
    """
    methods = (own.calibrator.method for own in decisions.values() if own.calibrator is not None)
    applied = next(methods, NONE)
    fits: dict[str, Mapping[FitKey, FitDecisions]] = {NONE: {}}
    if validation:
        fits |= {
            name: decisions if name == applied else fit_decisions(validation, name, None)
            for name in METHODS
            if name in (SHOWN, applied)
        }
    rows, entries, found = [], [], {}
    for name, fitted in fits.items():
        mapped = list(metrics.pool(calibrated(predictions, fitted)).values()) if fitted else pooled
        found[name] = figures = calibration_figures(mapped, groups)
        row = {
            "calibration": name,
            "applied": name == applied,
            "temperature": _temperature(fitted),
            "ece": figures.ece,
            "adaptive_ece": figures.adaptive_ece,
            **estimate_columns("brier", figures.brier),
            **estimate_columns("log_loss", figures.log_loss),
            "log_loss_majority": majority,
        }
        curves: dict[str, Any] = {"reliability": [asdict(point) for point in figures.reliability]}
        if predictions[0].task == "single-label":
            row["accuracy"] = metrics.accuracy(mapped)
            curves["accuracy_by_coverage"] = [asdict(point) for point in coverage_curve(mapped, groups)]
        rows.append(row)
        entries.append(row | curves)
    return CalibrationOfModel(rows, entries, _columns(found, applied))


def estimate_columns(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """Return a score and the ends of its interval as columns; infinite ends are left empty."""
    values = (None, None, None) if estimate is None else estimate
    finite = [None if value is None or not np.isfinite(value) else float(value) for value in values]
    return dict(zip((name, f"{name}_ci_low", f"{name}_ci_high"), finite, strict=True))


def _columns(found: Mapping[str, CalibrationFigures], applied: str) -> dict[str, Any]:
    """Return the columns of the results table: without a map, and with the applied one or else a temperature."""
    raw, name = found[NONE], SHOWN if applied == NONE else applied
    columns: dict[str, Any] = {"ece": raw.ece, "brier": raw.brier[0]}
    if name not in found:
        return columns
    return columns | {
        "calibration": name,
        "ece_calibrated": found[name].ece,
        "brier_calibrated": found[name].brier[0],
        "log_loss_calibrated": found[name].log_loss[0],
    }


def _temperature(fitted: Mapping[FitKey, FitDecisions]) -> float | None:
    """Return the mean temperature of the fits; None for other maps."""
    values = [own.calibrator.value for own in fitted.values() if isinstance(own.calibrator, Temperature)]
    return float(np.mean(values)) if values else None
