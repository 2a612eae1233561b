"""Calibration and thresholds of an experiment's models, for the report and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from features.manifest import Manifest
from heads.evaluation import metrics
from heads.evaluation.calibration import log_loss_of
from heads.evaluation.majority import BASELINE
from heads.evaluation.predictions import Predictions, from_frame
from pipeline.results.calibration_rows import CalibrationOfModel, calibration_of_model
from pipeline.results.fit_decisions import read_decisions, read_validation
from pipeline.results.run_folder import Fit
from pipeline.results.threshold_rows import ThresholdsOfModel

COUNTS = ("fits", "fits_met", "fits_without_positives")
KEYS = ("dataset", "model", "head", "pooling")


@dataclass(frozen=True)
class DecisionTables:
    """Calibration and thresholds of an experiment; empty for regression.

    Attributes:
        calibration: `calibration.csv`.
        thresholds: `thresholds.csv`.
        calibration_entries: `calibration.json`, one entry per row of the table.
        threshold_entries: `thresholds.json`, one entry per model.
        columns: Columns of the results table of each model, in the order of the models.
    """

    calibration: pd.DataFrame = field(default_factory=pd.DataFrame)
    thresholds: pd.DataFrame = field(default_factory=pd.DataFrame)
    calibration_entries: tuple[dict[str, Any], ...] = ()
    threshold_entries: tuple[dict[str, Any], ...] = ()
    columns: tuple[dict[str, Any], ...] = ()


def decision_tables(fits: Sequence[Fit], manifest: Manifest, group_of: np.ndarray) -> DecisionTables:
    """Compute the calibration and the thresholds of the models from their kept predictions.

    Args:
        fits: The models of one dataset, tested on the same clips; the majority row may be among them.
        manifest: The clips.
        group_of: Group of each manifest row, by which intervals are clustered.
    """
    if manifest.task == "regression" or not fits:
        return DecisionTables(columns=tuple({} for _ in fits))
    baseline = next((fit for fit in fits if fit.about.get("family") == BASELINE), None)
    majority = None if baseline is None else _log_loss(from_frame(baseline.predictions, manifest.labels, manifest.task))
    calibrations, thresholds, entries, columns = [], [], [], []
    for fit in fits:
        predictions = from_frame(fit.predictions, manifest.labels, manifest.task)
        tested = next(iter(metrics.pool(predictions).values())).ids
        groups = pd.Series(group_of, index=manifest.clips["id"]).loc[tested].to_numpy()
        keys = {name: fit.about[name] for name in KEYS}
        own = _calibration(fit, predictions, manifest, groups, majority)
        columns.append(own.columns)
        calibrations += [(keys | row, keys | entry) for row, entry in zip(own.rows, own.entries, strict=True)]
        if fit is not baseline:
            model = ThresholdsOfModel(
                predictions, read_decisions(fit.folder, len(manifest.labels)), groups, manifest.labels
            )
            thresholds += [keys | row for row in model.rows()]
            entries.append(keys | model.curves())
    return DecisionTables(
        calibration=pd.DataFrame([row for row, _ in calibrations]),
        thresholds=_whole_numbers(pd.DataFrame(thresholds)),
        calibration_entries=tuple(entry for _, entry in calibrations),
        threshold_entries=tuple(entries),
        columns=tuple(columns),
    )


def _whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose counts are written without decimals, although some rows lack them."""
    return table.astype({name: "Int64" for name in COUNTS if name in table})


def _calibration(
    fit: Fit, predictions: Sequence[Predictions], manifest: Manifest, groups: np.ndarray, majority: float | None
) -> CalibrationOfModel:
    applied = {
        "none" if own.calibrator is None else own.calibrator.method
        for own in read_decisions(fit.folder, len(manifest.labels)).values()
    }
    validation = read_validation(fit.folder, manifest) or []
    return calibration_of_model(predictions, validation, groups, next(iter(applied), "none"), majority=majority)


def _log_loss(predictions: Sequence[Predictions]) -> float:
    """Return the log loss of a model in nats, mean over repetitions; in `multi-label` the mean over classes."""
    return float(np.mean([log_loss_of(one).mean() for one in metrics.pool(predictions).values()]))
