"""Save and load a trained head as one self-contained safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from features.errors import RunError, WeightsError
from features.json_files import check_schema, parse_object
from features.labels import Task
from features.system.atomic_write import atomic_write
from heads.batched.inference import count_layers
from heads.evaluation.decisions.calibrators import Calibrator, calibrator_of
from heads.evaluation.decisions.operating_points import OperatingPoint
from heads.kinds.registry import HEADS, predict
from heads.kinds.sklearn.skops_io import checked_state
from heads.training.file_format import FORMAT, FORMAT_VERSION, HeadMetadata


@dataclass(frozen=True)
class SavedHead:
    """A head and everything needed to use it.

    Attributes:
        head: Its name in `heads.kinds.registry.HEADS`.
        labels: Class names in the order of the probabilities.
        backbone: The backbone's spec, as JSON values.
        pooling: Names of the concatenated poolings, in order.
        layer: The backbone layer it reads, or `all`.
        configuration: The chosen point of its grid.
        state: Arrays by name, see the head's module.
        task: The task, which determines the kind of outputs.
        extra: Additional information: fold, seed, dataset.
        calibrator: Map of the probabilities, fitted on validation clips; None: there is none.
        point: Thresholds on the mapped probabilities, chosen on validation clips; None: there are none.
    """

    head: str
    labels: tuple[str, ...]
    backbone: Mapping[str, Any]
    pooling: tuple[str, ...]
    layer: int | str
    configuration: Mapping[str, Any]
    state: Mapping[str, np.ndarray]
    task: Task
    extra: Mapping[str, Any]
    calibrator: Calibrator | None = None
    point: OperatingPoint | None = None

    def predict(self, features: Any) -> np.ndarray:
        """Predict from raw features, with calibrated probabilities if the head has a calibration.

        Args:
            features: Features of the head's layer and poolings, see `heads.batched.job.HeadType`.

        Returns:
            Probabilities (n, C) float32, or values (n, 1).

        Raises:
            ValueError: The shape of the features is not the one the head was trained on.
        """
        outputs = predict(self.head, self.state, features, self.task)
        return outputs if self.calibrator is None else self.calibrator(outputs, self.task)


def save_head(
    path: Path,
    state: Mapping[str, np.ndarray],
    *,
    head: str,
    labels: tuple[str, ...] | list[str],
    backbone: Mapping[str, Any],
    pooling: tuple[str, ...] | list[str],
    layer: int | str,
    configuration: Mapping[str, Any],
    task: Task = "single-label",
    extra: Mapping[str, Any] | None = None,
    calibrator: Calibrator | None = None,
    point: OperatingPoint | None = None,
) -> None:
    """Write a head atomically. The arguments are the fields of `SavedHead`.

    Raises:
        RunError: The file cannot be written.
    """
    about = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "head": head,
        "labels": list(labels),
        "backbone": dict(backbone),
        "pooling": list(pooling),
        "layer": layer,
        "configuration": dict(configuration),
        "task": task,
        "extra": dict(extra or {}),
        **_decisions(calibrator, point),
    }
    _write(path, {name: np.ascontiguousarray(values) for name, values in state.items()}, about)


def set_decisions(
    path: Path, calibrator: Calibrator | None, point: OperatingPoint | None, metadata: str = FORMAT
) -> None:
    """Replace the calibration and the thresholds in the file of a fit; nothing else in it changes.

    Args:
        path: The file of a head, or of a network if `metadata` is the key of networks.
        calibrator: Map of the probabilities; None: none.
        point: Thresholds on the mapped probabilities; None: none.
        metadata: Key of the metadata in the file.

    Raises:
        WeightsError: The file is missing or damaged.
        RunError: It cannot be written.
    """
    about, state = _read(path, metadata)
    _write(path, state, about | _decisions(calibrator, point), metadata)


def stored_decisions(
    about: Mapping[str, Any], n_outputs: int, what: str
) -> tuple[Calibrator | None, OperatingPoint | None]:
    """Return the calibration and the thresholds in the metadata of a fit, each None if there is none.

    Raises:
        WeightsError: They are damaged, or do not fit the number of outputs; `what` names the file.
    """
    calibration, point = about.get("calibration"), about.get("operating_point")
    return (
        calibrator_of(calibration, n_outputs, what) if calibration else None,
        OperatingPoint.of(point, n_outputs, what) if point else None,
    )


def load_head(path: Path, trusted: Sequence[str] = ()) -> SavedHead:
    """Read a head.

    Args:
        path: The file.
        trusted: Types that a `sklearn` head may contain in addition to those that
            `heads.kinds.sklearn.skops_io.from_bytes` trusts by default.

    Returns:
        The head.

    Raises:
        WeightsError: The file is missing, damaged, not a head of this program, or from another version; or it
            contains a type that is not trusted.
    """
    about, state = _read(path)
    if about.get("format") != FORMAT:
        raise WeightsError(f"{path}: a safetensors file, but not a head that `audioheads train-heads` wrote")
    if about["format_version"] != FORMAT_VERSION:
        raise WeightsError(
            f"{path}: head format {about['format_version']}, this program reads {FORMAT_VERSION}; train the head again"
        )
    check_schema(about, str(path), HeadMetadata, WeightsError)
    if about["head"] not in HEADS:
        raise WeightsError(f"{path}: unknown head {about['head']!r}; this program knows {', '.join(HEADS)}")
    last = state.get(f"bias_{count_layers(state) - 1}")
    if last is not None and len(last) != max(1, len(about["labels"])):
        raise WeightsError(f"{path}: {len(about['labels'])} labels do not fit the head's output; train the head again")
    if "estimator" in state:
        try:
            state = checked_state(state, trusted)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from error
    calibrator, point = stored_decisions(about, len(about["labels"]), str(path))
    return SavedHead(
        head=about["head"],
        labels=tuple(about["labels"]),
        backbone=about["backbone"],
        pooling=tuple(about["pooling"]),
        layer=about["layer"],
        configuration=about["configuration"],
        state=state,
        task=about["task"],
        extra=about["extra"],
        calibrator=calibrator,
        point=point,
    )


def _decisions(calibrator: Calibrator | None, point: OperatingPoint | None) -> dict[str, dict[str, Any] | None]:
    """Return the metadata of a calibration and of thresholds."""
    return {
        "calibration": None if calibrator is None else calibrator.stored(),
        "operating_point": None if point is None else point.stored(),
    }


def _read(path: Path, metadata: str = FORMAT) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the metadata and the arrays of a file."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = parse_object((file.metadata() or {}).get(metadata, "{}"), str(path), error=WeightsError)
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable head: {error}") from error


def _write(path: Path, state: Mapping[str, np.ndarray], about: Mapping[str, Any], metadata: str = FORMAT) -> None:
    """Write a file atomically."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            save_file(dict(state), temporary, metadata={metadata: json.dumps(about, sort_keys=True)})
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot write {path}: {error}") from error
