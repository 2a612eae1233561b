"""Calibration and thresholds of an experiment's models, for the report and its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from features.manifest import Manifest
from heads.evaluation import metrics
from heads.evaluation.majority import BASELINE
from heads.evaluation.predictions import Predictions
from heads.evaluation.top_probabilities import KEPT, TopProbabilities
from pipeline.results.decisions.calibration_rows import calibration_of_model
from pipeline.results.decisions.fit_decisions import KEYS, read_decisions, read_validation
from pipeline.results.decisions.threshold_rows import ThresholdsOfModel
from pipeline.results.fit import Fit

COUNTS = ("fits", "fits_met", "fits_without_positives")
INCOMPLETE = (
    f"calibration and thresholds are not computed: of so many predictions, the probabilities of the {KEPT} most "
    "probable classes are stored, and both need those of all classes"
)
MOST_CELLS = 2**24  # probabilities of a model, for which about 3 GiB and a minute are needed
TOO_MANY = f"calibration and thresholds are not computed: a model has more than {MOST_CELLS:,} probabilities"


@dataclass(frozen=True)
class DecisionTables:
    """Calibration and thresholds of an experiment; empty for regression.

    Attributes:
        calibration: `calibration.csv`.
        thresholds: `thresholds.csv`.
        calibration_entries: `calibration.json`, one entry per row of the table.
        threshold_entries: `thresholds.json`, one entry per model.
        columns: Columns of the results table of each model, in the order of the models.
        notes: Why tables lack models.
    """

    calibration: pd.DataFrame = field(default_factory=pd.DataFrame)
    thresholds: pd.DataFrame = field(default_factory=pd.DataFrame)
    calibration_entries: tuple[dict[str, Any], ...] = ()
    threshold_entries: tuple[dict[str, Any], ...] = ()
    columns: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


class DecisionRows:
    """Collects the calibration and the thresholds of models, with one model's predictions in memory at a time."""

    def __init__(self, fits: Sequence[Fit], manifest: Manifest, group_of: np.ndarray) -> None:
        """Start without rows.

        Args:
            fits: The models of one dataset, tested on the same clips; the majority row may be among them.
            manifest: The clips.
            group_of: Group of each manifest row, by which intervals are clustered.
        """
        self.manifest = manifest
        self.group_of = pd.Series(group_of, index=manifest.clips["id"])
        self.baseline = next((fit for fit in fits if fit.about.get("family") == BASELINE), None)
        self._calibrations: list[tuple[dict[str, Any], dict[str, Any]]] = []  # row and entry
        self._thresholds: list[dict[str, Any]] = []
        self._entries: list[dict[str, Any]] = []
        self._columns: list[dict[str, Any]] = []
        self._notes: dict[str, None] = {}

    def add(self, fit: Fit, predictions: Sequence[Predictions], pooled: Sequence[Predictions]) -> None:
        """Add a model with its test predictions, one per fold, seed and draw, and the same pooled over folds.

        Models whose stored predictions lack the probabilities of some classes, and those with more than `MOST_CELLS`,
        get no rows, and a note says so.
        """
        if not self._can_add(predictions):
            self._columns.append({})
            return
        labels = self.manifest.labels
        groups = self.group_of.loc[pooled[0].ids].to_numpy()
        keys = {name: fit.about[name] for name in KEYS}
        decisions = read_decisions(fit.folder, len(labels))
        validation = read_validation(fit.folder, self.manifest) or []
        own = calibration_of_model(predictions, pooled, validation, decisions, groups, majority=self._majority_log_loss)
        self._columns.append(own.columns)
        self._calibrations += [(keys | row, keys | entry) for row, entry in zip(own.rows, own.entries, strict=True)]
        if fit is not self.baseline:
            model = ThresholdsOfModel(predictions, decisions, groups, labels)
            self._thresholds += [keys | row for row in model.rows()]
            self._entries.append(keys | model.curves())

    def tables(self) -> DecisionTables:
        """Return the tables of all models that were added."""
        return DecisionTables(
            calibration=pd.DataFrame([row for row, _ in self._calibrations]),
            thresholds=_whole_numbers(pd.DataFrame(self._thresholds)),
            calibration_entries=tuple(entry for _, entry in self._calibrations),
            threshold_entries=tuple(self._entries),
            columns=tuple(self._columns),
            notes=tuple(self._notes),
        )

    def _can_add(self, predictions: Sequence[Predictions]) -> bool:
        if self.manifest.task == "regression":
            return False
        if any(isinstance(one.probabilities, TopProbabilities) for one in predictions):
            self._notes[INCOMPLETE] = None
        elif sum(one.scores.size for one in predictions) > MOST_CELLS:
            self._notes[TOO_MANY] = None
        else:
            return True
        return False

    @cached_property
    def _majority_log_loss(self) -> float | None:
        """Log loss of the majority row in nats, mean over repetitions; in `multi-label` the mean over classes."""
        if self.baseline is None:
            return None
        predictions = self.baseline.predictions(self.manifest.labels, self.manifest.task)
        return metrics.log_loss(predictions)


def entries_of(entries: Iterable[Mapping[Any, Any]], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return those rows or entries of the tables that are about the model of a row of the results table."""
    return [dict(one) for one in entries if all(one[name] == row[name] for name in KEYS)]


def _whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose counts are written without decimals, although some rows lack them."""
    return table.astype({name: "Int64" for name in COUNTS if name in table})
