"""Calibration maps: probabilities of a model to probabilities that hold more often, fitted on validation clips.

- `temperature`: one number divides all logits (Guo et al. 2017). The order of the classes does not change.
- `platt`: a logistic curve of each class's logit (Platt 1999), with his smoothed targets.
- `isotonic`: a monotone step function of each class's probability (Zadrozny and Elkan 2002).

In `single-label`, `platt` and `isotonic` are fitted for each class against the rest, and the results are divided by
their sum, as scikit-learn's `CalibratedClassifierCV` does. Logits are those of the probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from features.errors import WeightsError
from features.labels import Task
from heads.evaluation.decisions.operating_points import members
from heads.evaluation.metrics import CLIP

Method = Literal["temperature", "platt", "isotonic"]
METHODS: tuple[Method, ...] = get_args(Method)
EDGE = 1e-6  # binary probabilities closer to 0 or 1 count as this far away, because float32 cannot tell them apart
TEMPERATURES = (0.05, 20.0)
NEWTON_STEPS, HALVINGS, PLATT_TOLERANCE = 50, 8, 1e-7
DAMPING = 1e-9  # equal scores would make the matrix of Newton's method singular


@dataclass(frozen=True)
class Temperature:
    """Divides logits by a number: above 1 makes a model less certain, below 1 more certain.

    Attributes:
        value: The temperature.
    """

    value: float
    method: Method = "temperature"

    def __call__(self, probabilities: np.ndarray, task: Task) -> np.ndarray:
        """Map probabilities (N, C) to calibrated ones, float32. In `single-label`, a probability of 0 stays 0."""
        values = probabilities.astype(np.float64)
        if task == "multi-label":
            return _sigmoid(logits(values) / self.value).astype(np.float32)
        return _tempered(values, self.value).astype(np.float32)

    def stored(self) -> dict[str, Any]:
        """Return the map as JSON values."""
        return {"method": self.method, "temperature": self.value}


@dataclass(frozen=True)
class Platt:
    """A logistic curve for each class: sigmoid(slope · logit + offset).

    Attributes:
        slopes: Shape (C,).
        offsets: Shape (C,).
    """

    slopes: np.ndarray
    offsets: np.ndarray
    method: Method = "platt"

    def __call__(self, probabilities: np.ndarray, task: Task) -> np.ndarray:
        """Map probabilities (N, C) to calibrated ones, float32."""
        return _shared_out(_sigmoid(self.slopes * logits(probabilities.astype(np.float64)) + self.offsets), task)

    def stored(self) -> dict[str, Any]:
        """Return the map as JSON values."""
        return {"method": self.method, "slopes": self.slopes.tolist(), "offsets": self.offsets.tolist()}


@dataclass(frozen=True)
class Isotonic:
    """A monotone piecewise linear function for each class, constant outside its points.

    Attributes:
        points: For each class, probabilities and calibrated probabilities in ascending order, shape (2, K).
    """

    points: Sequence[np.ndarray]
    method: Method = "isotonic"

    def __call__(self, probabilities: np.ndarray, task: Task) -> np.ndarray:
        """Map probabilities (N, C) to calibrated ones, float32."""
        columns = [np.interp(column, *curve) for column, curve in zip(probabilities.T, self.points, strict=True)]
        return _shared_out(np.stack(columns, axis=1), task)

    def stored(self) -> dict[str, Any]:
        """Return the map as JSON values."""
        return {"method": self.method, "points": [curve.tolist() for curve in self.points]}


Calibrator = Temperature | Platt | Isotonic


def fit_calibrator(method: Method, probabilities: np.ndarray, targets: np.ndarray, task: Task) -> Calibrator:
    """Fit a map on validation clips.

    A class without positive or without negative clips keeps its probabilities in `platt` and `isotonic`.

    Args:
        method: Kind of map.
        probabilities: Shape (N, C).
        targets: Class of each clip (N,), or zeros and ones (N, C).
        task: `single-label` or `multi-label`.

    Raises:
        ValueError: The task is regression, or there are no clips.
    """
    if task == "regression" or not len(targets):
        raise ValueError(f"a calibration needs classes and validation clips, got {task} with {len(targets)} clips")
    values = probabilities.astype(np.float64)
    if method == "temperature":
        return _fit_temperature(values, targets, task)
    truth = members(targets, values.shape[1], task)
    return _fit_platt(values, truth) if method == "platt" else _fit_isotonic(values, truth)


def calibrator_of(stored: Mapping[str, Any], n_classes: int, where: str) -> Calibrator:
    """Return the map that `stored` describes.

    Args:
        stored: JSON values.
        n_classes: C.
        where: Name of the file, for the message.

    Raises:
        WeightsError: The values do not describe a map for C classes.
    """
    try:
        found: Calibrator
        if stored["method"] == "temperature":
            found = Temperature(temperature := float(stored["temperature"]))
            fits = TEMPERATURES[0] <= temperature <= TEMPERATURES[1]
        elif stored["method"] == "platt":
            slopes, offsets = (np.array(stored[name], dtype=np.float64) for name in ("slopes", "offsets"))
            found = Platt(slopes, offsets)
            fits = slopes.shape == offsets.shape == (n_classes,) and bool(np.isfinite([slopes, offsets]).all())
        else:
            points = [np.array(curve, dtype=np.float64) for curve in stored["points"]]
            found = Isotonic(points)
            fits = stored["method"] == "isotonic" and len(points) == n_classes and all(map(_is_curve, points))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{where}: its calibration cannot be read ({error!r}); train the head again") from None
    if not fits:
        raise WeightsError(f"{where}: its calibration does not fit {n_classes} classes; train the head again")
    return found


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Return the logits of binary probabilities; those within `EDGE` of 0 or 1 are moved to it."""
    clipped = np.clip(probabilities, EDGE, 1 - EDGE)
    return np.log(clipped) - np.log1p(-clipped)


def _tempered(values: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits of classes that exclude each other by a temperature, (N, C) float64."""
    powers = (values / values.max(axis=1, keepdims=True)) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(values)


def _shared_out(values: np.ndarray, task: Task) -> np.ndarray:
    """Divide the probabilities of a `single-label` clip by their sum; if all are 0, its classes are equally likely."""
    if task == "single-label":
        total = values.sum(axis=1, keepdims=True)
        values = np.where(total > 0, values / np.where(total > 0, total, 1), 1 / values.shape[1])
    return values.astype(np.float32)


def _fit_temperature(values: np.ndarray, targets: np.ndarray, task: Task) -> Temperature:
    """Return the temperature with the lowest log loss; 1 if the loss does not depend on it."""
    from scipy.optimize import minimize_scalar

    scores = logits(values)
    rows = np.arange(len(targets))

    def loss(power: float) -> float:
        if task == "multi-label":
            return float(np.logaddexp(0, np.where(targets > 0, -scores, scores) / np.exp(power)).mean())
        of_target = _tempered(values, float(np.exp(power)))[rows, targets]
        return float(-np.log(np.clip(of_target, CLIP, 1)).mean())

    grid = np.linspace(np.log(TEMPERATURES[0]), np.log(TEMPERATURES[1]), 21)
    losses = np.array([loss(power) for power in grid])
    if np.ptp(losses) < 1e-9:
        return Temperature(1.0)
    best = int(losses.argmin())
    around = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    found = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-6})
    return Temperature(float(np.clip(np.exp(found.x), TEMPERATURES[0], TEMPERATURES[1])))


def _fit_platt(values: np.ndarray, truth: np.ndarray) -> Platt:
    """Fit the classes together with Newton's method, on Platt's smoothed targets."""
    positive = truth.sum(axis=0)
    negative = len(truth) - positive
    wanted = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    scores, lines = logits(values), np.stack([np.zeros(values.shape[1]), np.log((positive + 1) / (negative + 1))])
    moving = np.flatnonzero((positive > 0) & (negative > 0))
    for _ in range(NEWTON_STEPS):
        own, aim = scores[:, moving], wanted[:, moving]
        current = _platt_loss(lines[:, moving], own, aim)
        steps = _newton_steps(lines[:, moving], own, aim)
        for _ in range(HALVINGS):
            worse = _platt_loss(lines[:, moving] - steps, own, aim) > current
            if not worse.any():
                break
            steps[:, worse] /= 2
        lines[:, moving] -= steps
        moving = moving[np.abs(steps).max(axis=0) > PLATT_TOLERANCE]
        if not len(moving):
            break
    fitted = (positive > 0) & (negative > 0)
    return Platt(np.where(fitted, lines[0], 1.0), np.where(fitted, lines[1], 0.0))


def _platt_loss(lines: np.ndarray, scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the log loss of each class, shape (C,), for slopes and offsets (2, C)."""
    found = lines[0] * scores + lines[1]
    return (np.logaddexp(0, found) - wanted * found).sum(axis=0)


def _newton_steps(lines: np.ndarray, scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the Newton steps of slopes and offsets, shape (2, C)."""
    likely = _sigmoid(lines[0] * scores + lines[1])
    residuals, weights = likely - wanted, likely * (1 - likely)
    by_slope, by_offset = (residuals * scores).sum(axis=0), residuals.sum(axis=0)
    slope, both, offset = (weights * scores**2).sum(axis=0), (weights * scores).sum(axis=0), weights.sum(axis=0)
    slope, offset = slope + DAMPING, offset + DAMPING
    determinant = slope * offset - both**2
    return np.stack([offset * by_slope - both * by_offset, slope * by_offset - both * by_slope]) / determinant


def _fit_isotonic(values: np.ndarray, truth: np.ndarray) -> Isotonic:
    from sklearn.isotonic import IsotonicRegression

    points = []
    for scores, own in zip(values.T, truth.T, strict=True):
        curve = np.array([[0.0, 1.0], [0.0, 1.0]])
        if own.any() and not own.all():
            fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, own.astype(float))
            curve = np.stack([fitted.X_thresholds_, fitted.y_thresholds_])
        points.append(curve)
    return Isotonic(points)


def _is_curve(points: np.ndarray) -> bool:
    """Whether points describe a monotone function from 0…1 to 0…1."""
    return bool(
        points.ndim == 2
        and len(points) == 2
        and points.size
        and np.all((points >= 0) & (points <= 1))
        and np.all(np.diff(points, axis=1) >= 0)
    )
