"""What is fitted on the validation predictions of a trained model: calibration maps and thresholds.

`validation.parquet` in the folder of a model has the predictions of each fit for its validation clips.
`decisions.json` has the map and the thresholds of each fit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from features.manifest import Manifest
from heads.evaluation.decisions.calibrators import Calibrator, Method, calibrator_of, fit_calibrator
from heads.evaluation.decisions.false_alarms import BackgroundScores, alarm_scores
from heads.evaluation.decisions.operating_points import OperatingPoint, Rule, choose, decide
from heads.evaluation.prediction_table import from_table, to_table
from heads.evaluation.predictions import Predictions
from pipeline.results.prediction_files import read_table, write_tables
from pipeline.results.run_folder import read_json, write_json, write_whole

VALIDATION_FILE = "validation.parquet"
DECISIONS_FILE = "decisions.json"
KEYS = ("dataset", "model", "head", "pooling")  # columns that name a model in the tables about decisions
FitKey = tuple[str, int, int]
"""Fold, seed and draw of a fit."""


@dataclass(frozen=True)
class FitDecisions:
    """What is fitted on the validation predictions of one fit.

    Attributes:
        calibrator: Map of its probabilities; None: they are used as they are.
        point: Thresholds on the mapped probabilities; None: a class of several is decided from 0.5 on.
    """

    calibrator: Calibrator | None = None
    point: OperatingPoint | None = None


@dataclass(frozen=True)
class ValidationBackground:
    """Windows of background on which thresholds are chosen.

    Attributes:
        scores: Probabilities of each fit, without calibration, shape (n, C).
        hours: Length of the recordings in hours.
        digest: What the windows and the scores are made from.
        own_class: Position of the class of background, which is no false alarm; None: there is no such class.
    """

    scores: Mapping[FitKey, np.ndarray]
    hours: float
    digest: str
    own_class: int | None = None

    def scores_of(self, one: Predictions, calibrator: Calibrator | None) -> BackgroundScores:
        """Return what the fit that made some predictions says about the windows."""
        values = self.scores[key_of(one)]
        mapped = values if calibrator is None else calibrator(values, one.task)
        scores = alarm_scores(mapped, one.task)
        if self.own_class is not None:
            scores[:, self.own_class] = -np.inf
        return BackgroundScores(scores, self.hours)


def key_of(one: Predictions) -> FitKey:
    """Return the key of the fit that made some predictions."""
    return str(one.fold), one.seed, one.draw


def fit_decisions(
    validation: Sequence[Predictions],
    method: Method | None,
    rule: Rule | None,
    background: ValidationBackground | None = None,
) -> dict[FitKey, FitDecisions]:
    """Fit the map and choose the thresholds of each fit, on its own validation predictions only.

    Args:
        validation: Predictions of each fit for its validation clips.
        method: Kind of map; None: none.
        rule: What thresholds should achieve; None: there are none.
        background: Windows of background for validation, for a rule that needs them.
    """
    found = {}
    for one in validation:
        calibrator = fit_calibrator(method, one.scores, one.targets, one.task) if method else None
        mapped = _mapped(one, calibrator)
        silent = None if background is None else background.scores_of(one, calibrator)
        point = choose(mapped.scores, mapped.targets, rule, mapped.task, silent) if rule else None
        found[key_of(one)] = FitDecisions(calibrator, point)
    return found


def calibrated(predictions: Sequence[Predictions], decisions: Mapping[FitKey, FitDecisions]) -> list[Predictions]:
    """Return predictions with mapped probabilities, each fit with its own map."""
    return [_mapped(one, decisions[key_of(one)].calibrator) for one in predictions]


def decided(predictions: Sequence[Predictions], decisions: Mapping[FitKey, FitDecisions]) -> list[Predictions]:
    """Return predictions of several labels per clip with the classes that their thresholds decide.

    Probabilities are unchanged. Predictions of other tasks, and of fits without thresholds, are returned as they are.
    """
    found = []
    for one in predictions:
        own = decisions.get(key_of(one), FitDecisions())
        if one.task == "multi-label" and own.point is not None:
            mapped = _mapped(one, own.calibrator).scores
            one = replace(one, decided=decide(mapped, own.point.thresholds, one.task))
        found.append(one)
    return found


def write_validation(folder: Path, predictions: Sequence[Predictions], labels: Sequence[str]) -> None:
    """Write the predictions of each fit for its validation clips, with the probabilities of all classes."""
    table = to_table(predictions, labels, most_cells=sys.maxsize)
    write_whole(folder / VALIDATION_FILE, lambda path: write_tables(path, table.schema, [table]))


def read_validation(folder: Path, manifest: Manifest) -> list[Predictions] | None:
    """Read the validation predictions of a model; None if it has none, or is from an older version."""
    path = folder / VALIDATION_FILE
    return from_table(read_table(path), manifest.labels, manifest.task) if path.is_file() else None


def write_decisions(folder: Path, settings: object, decisions: Mapping[FitKey, FitDecisions]) -> None:
    """Write `decisions.json`; `settings` are what the decisions depend on, see `read_settings`."""
    fits = [
        {
            "fold": fold,
            "seed": seed,
            "draw": draw,
            "calibration": own.calibrator and own.calibrator.stored(),
            "operating_point": own.point and own.point.stored(),
        }
        for (fold, seed, draw), own in decisions.items()
    ]
    write_json(folder / DECISIONS_FILE, {"settings": settings, "fits": fits})


def read_settings(folder: Path) -> object:
    """Return the settings of the written decisions; None if there are no complete ones."""
    return (read_json(folder / DECISIONS_FILE) or {}).get("settings")


def read_decisions(folder: Path, n_classes: int) -> dict[FitKey, FitDecisions]:
    """Read `decisions.json`; empty if there is none.

    Raises:
        WeightsError: A map or thresholds do not fit the number of classes.
    """
    path = folder / DECISIONS_FILE
    found = {}
    for fit in (read_json(path) or {}).get("fits", []):
        calibration, point = fit["calibration"], fit["operating_point"]
        found[str(fit["fold"]), int(fit["seed"]), int(fit["draw"])] = FitDecisions(
            calibrator_of(calibration, n_classes, str(path)) if calibration else None,
            OperatingPoint.of(point, n_classes, str(path)) if point else None,
        )
    return found


def _mapped(one: Predictions, calibrator: Calibrator | None) -> Predictions:
    return one if calibrator is None else replace(one, probabilities=calibrator(one.scores, one.task))
