"""Fit the calibration and the thresholds of trained models, and store them in the files of their fits.

Both need only the kept validation predictions, so a change of `calibrate` or `operating_point` trains nothing again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import ConfigError, RunError
from features.manifest import Manifest
from heads.evaluation.decisions.calibrators import Method
from heads.evaluation.decisions.operating_points import OperatingPoint
from heads.splits.protocol import Splits
from heads.splits.targets import Targets
from heads.training.checkpoint import set_decisions
from heads.training.file_format import FORMAT
from pipeline.config.config import Config
from pipeline.results.decisions.fit_decisions import (
    DECISIONS_FILE,
    VALIDATION_FILE,
    ValidationBackground,
    fit_decisions,
    read_settings,
    read_validation,
    write_decisions,
)
from pipeline.results.run_folder import weights_file, write_json

MOST_KEPT = 2**28  # validation probabilities of a model (1 GiB) that are kept although nothing is fitted on them


def check_decisions(config: Config, manifest: Manifest, splits: Splits) -> None:
    """Check that `calibrate` and `operating_point` fit the labels and the protocol.

    Raises:
        ConfigError: The labels are numbers, there are no validation clips, or `below` is a class.
    """
    wanted = {"calibrate": config.calibrate != "none", "operating_point": config.operating_point is not None}
    for key in (key for key, given in wanted.items() if given):
        if manifest.task == "regression":
            raise ConfigError(f"{key}: needs classes, and the labels of {manifest.name} are numbers; remove it")
        if any(not len(split.valid) for split in splits.splits):
            raise ConfigError(
                f"{key}: is fitted on validation clips, and protocol {splits.protocol!r} has none; use `folds`"
            )
    point = config.operating_point
    if point is None or point.below is None:
        return
    if manifest.task == "multi-label":
        raise ConfigError(
            f"operating_point.below: {point.below!r} is for one class per clip; a clip of {manifest.name} can have "
            "none; remove it"
        )
    if point.below in manifest.labels:
        raise ConfigError(f"operating_point.below: {point.below!r} is a class of {manifest.name}; use another label")


def settings_of(config: Config, background: ValidationBackground | None = None) -> dict[str, Any]:
    """Return what the decisions depend on, as JSON values."""
    point = config.operating_point
    found = {"calibrate": config.calibrate, "operating_point": point and point.model_dump(exclude_none=True)}
    return found if background is None else found | {"background": background.digest}


def needs_background(config: Config) -> bool:
    """Return whether thresholds are chosen on recordings of background."""
    return config.operating_point is not None and config.operating_point.max_false_alarms_per_hour is not None


def fits_something(config: Config) -> bool:
    """Return whether the config asks for a calibration or thresholds."""
    return config.calibrate != "none" or config.operating_point is not None


def keeps_validation(config: Config, splits: Splits, targets: Targets) -> bool:
    """Return whether validation predictions of a model are kept: of classes, if they are needed or small."""
    rows = sum(len(split.valid) for split in splits.splits)
    small = rows * targets.n_outputs * len(config.seeds) <= MOST_KEPT
    return targets.task != "regression" and (small or fits_something(config))


def can_settle(config: Config, folder: Path) -> bool:
    """Return whether the folder of a trained model has what the config's decisions are fitted on."""
    return not fits_something(config) or (folder / VALIDATION_FILE).is_file()


def settle(
    config: Config,
    manifest: Manifest,
    folder: Path,
    background: ValidationBackground | None = None,
    metadata: str = FORMAT,
) -> list[str]:
    """Fit the decisions of a trained model, unless those of these settings are in its files already.

    Args:
        config: The experiment.
        manifest: Its clips.
        folder: Folder of the model, with `validation.parquet` if there is something to fit.
        background: Windows of background, if `needs_background`.
        metadata: Key of the metadata in the files of the fits.

    Returns:
        Notes about thresholds that could not be chosen as wanted.

    Raises:
        RunError: A file cannot be written.
    """
    settings = settings_of(config, background)
    if read_settings(folder) == settings or not (fits_something(config) or (folder / DECISIONS_FILE).exists()):
        return []
    method: Method | None = None if config.calibrate == "none" else config.calibrate
    rule = None if config.operating_point is None else config.operating_point.rule
    validation = read_validation(folder, manifest) or []
    if fits_something(config) and not validation:
        raise RunError(f"{folder}: has no predictions for validation clips; delete the folder and train again")
    if needs_background(config) and background is None:
        raise RunError(f"{folder}: the model was not run on background, so {rule} cannot be met; use another goal")
    decisions = fit_decisions(validation, method, rule, background)
    write_json(folder / DECISIONS_FILE, {"settings": None})  # until the files of all fits agree
    for (fold, seed, draw), own in decisions.items():
        set_decisions(weights_file(folder, fold, seed, draw), own.calibrator, own.point, metadata)
    write_decisions(folder, settings, decisions if fits_something(config) else {})
    points = [own.point for own in decisions.values() if own.point is not None]
    notes = _notes(points, manifest.labels) if points else []
    if background is not None and rule is not None and rule.value * background.hours < 1:
        notes.append(
            f"{background.hours:.2g} hours of background for validation are too short to measure {rule}: thresholds "
            f"allow no false alarm in them; {1 / rule.value:.2g} hours would allow one"
        )
    return notes


def _notes(points: Sequence[OperatingPoint], labels: Sequence[str]) -> list[str]:
    """Say for which classes thresholds could not be chosen as wanted in some fit."""
    rule, notes = points[0].rule, []
    unknown = np.flatnonzero(~np.all([point.own for point in points], axis=0))
    missed = np.flatnonzero(np.any([point.own & ~point.met for point in points], axis=0))
    if len(unknown):
        notes.append(
            f"{_named(unknown, labels)}: no validation clip of the class in some fold, so the threshold of all "
            "decisions together is used"
        )
    if len(missed):
        notes.append(f"{_named(missed, labels)}: no threshold gives {rule} on validation clips; the nearest is used")
    return notes


def _named(classes: np.ndarray, labels: Sequence[str]) -> str:
    """Name up to three classes."""
    more = f" and {len(classes) - 3} more classes" if len(classes) > 3 else ""
    return ", ".join(repr(labels[own]) for own in classes[:3]) + more
