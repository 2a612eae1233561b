"""Import, fit and query scikit-learn estimators, and others with the same API."""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.multiclass import OneVsRestClassifier
from threadpoolctl import threadpool_limits

from features.errors import ConfigError
from features.labels import Task
from heads.kinds.sklearn.skops_io import to_bytes


@dataclass(frozen=True)
class EstimatorFit:
    """The result of one fit.

    Attributes:
        reason: Why it failed; empty if it did not.
        state: The estimator, see `heads.kinds.sklearn.skops_io`.
        classes: Class of each of its output columns, shape (k,) int64.
        valid: Predictions for the validation rows: probabilities (v, C), or standardised values (v, 1).
        rounds: Iterations of its solver; 1 if unknown.
        n_numbers: Number of trained parameters.
        answers_by: The method that computed `valid`.
        notes: Warnings it raised, as `Category: first line`.
    """

    reason: str
    state: bytes = b""
    classes: np.ndarray | None = None
    valid: np.ndarray | None = None
    rounds: int = 1
    n_numbers: int = 0
    answers_by: str = ""
    notes: tuple[str, ...] = ()


def import_estimator(path: str) -> type:
    """Import an estimator class.

    Raises:
        ConfigError: The module or name does not exist, or is not an estimator with `predict`.
    """
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"estimator: {path}: cannot import {module_name} ({error})") from error
    found = getattr(module, name, None)
    if found is None:
        near = _closest(name, dir(module))
        hint = f", did you mean {near!r}?" if near else ""
        raise ConfigError(f"estimator: {path}: {module_name} has no {name!r}{hint}")
    missing = [method for method in ("fit", "predict", "get_params", "set_params") if not hasattr(found, method)]
    if not isinstance(found, type) or missing:
        what = f"a class without `{missing[0]}`" if isinstance(found, type) else f"a {type(found).__name__}"
        raise ConfigError(
            f"estimator: {path}: {what} is no estimator; use a classifier or regressor such as sklearn.svm.SVC"
        )
    return found


def build(estimator: type, parameters: Mapping[str, Any]) -> Any:
    """Create an unfitted estimator.

    Raises:
        ConfigError: The estimator does not accept a parameter.
    """
    try:
        known = set(estimator().get_params(deep=False))
    except TypeError:
        known = set()  # it has parameters without a default; its own error message is used below
    unknown = [name for name in parameters if known and name not in known]
    try:
        return estimator(**parameters)
    except Exception as error:
        if not unknown:
            raise ConfigError(f"parameters: {estimator.__name__}: {error}") from error
        near = _closest(unknown[0], known)
        hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(sorted(known)) or 'none'}"
        raise ConfigError(f"parameters.{unknown[0]}: {estimator.__name__} takes no {unknown[0]!r}, {hint}") from error


def takes_seed(estimator: type, parameters: Mapping[str, Any]) -> bool:
    """Return whether the estimator has a `random_state` that the user did not set."""
    return "random_state" not in parameters and "random_state" in build(estimator, parameters).get_params(deep=False)


def check_purpose(estimator: Any, task: Task) -> None:
    """Check that classes get a classifier and numbers a regressor, if the estimator declares its kind.

    Raises:
        ConfigError: It is of the wrong kind.
    """
    try:
        wrong = is_classifier(estimator) if task == "regression" else is_regressor(estimator)
    except Exception:  # estimators of older packages may have no tags
        return
    if wrong:
        name = type(estimator).__name__
        if task == "regression":
            raise ConfigError(f"estimator: {name} is a classifier, but the labels are numbers; use a regressor")
        raise ConfigError(f"estimator: {name} is a regressor, but the labels are classes; use a classifier")


def fit_estimator(
    path: str,
    parameters: Mapping[str, Any],
    train: np.ndarray,
    targets: np.ndarray,
    valid: np.ndarray,
    task: Task,
    n_outputs: int,
) -> EstimatorFit:
    """Fit one estimator on one core and predict the validation rows.

    Many estimators cannot be fitted if every column is constant. Their place is taken by one that predicts the
    frequencies of the classes, or the mean: nothing more can be known.

    Args:
        path: Import path of the estimator.
        parameters: Parameters of the estimator.
        train: Standardised training rows, shape (n, D).
        targets: Classes (n,), zeros and ones (n, C), or standardised values (n, 1).
        valid: Standardised validation rows, shape (v, D); v may be 0.
        task: The task, which determines the form of the targets.
        n_outputs: C.

    Returns:
        The result; if the estimator raised an error or predicted NaN, only the reason.
    """
    is_constant = not train.any()  # before fitting, since some estimators modify their input
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always")
        try:
            outcome = _fit(build(import_estimator(path), parameters), train, targets, valid, task, n_outputs)
        except Exception as error:
            outcome = EstimatorFit(f"{type(error).__name__}: {_first_line(error)}")
        if outcome.reason and is_constant:
            warnings.warn(
                f"all features are constant, so it predicts the average target ({outcome.reason})", stacklevel=1
            )
            average = DummyRegressor() if task == "regression" else DummyClassifier()
            outcome = _fit(average, np.zeros_like(train), targets, np.zeros_like(valid), task, n_outputs)
    notes = tuple(dict.fromkeys(f"{item.category.__name__}: {_first_line(item.message)}" for item in caught))
    return EstimatorFit(**{**vars(outcome), "notes": notes})


def _fit(
    estimator: Any, train: np.ndarray, targets: np.ndarray, valid: np.ndarray, task: Task, n_outputs: int
) -> EstimatorFit:
    if task == "multi-label" and n_outputs > 1:
        targets = targets.astype(np.int64)
        if not _takes_several(estimator):
            estimator = OneVsRestClassifier(estimator)
    else:
        targets = targets.reshape(-1) if task == "regression" else targets.reshape(-1).astype(np.int64)
    estimator.fit(train, targets)
    classes = np.arange(n_outputs)
    if task == "single-label":
        classes = np.asarray(getattr(estimator, "classes_", np.unique(targets))).astype(np.int64)
    predicted = answers(estimator, valid, classes, n_outputs, task) if len(valid) else np.zeros((0, n_outputs))
    if not np.isfinite(predicted).all():
        return EstimatorFit("it predicts NaN or infinity")
    return EstimatorFit(
        "",
        to_bytes(estimator),
        classes,
        predicted,
        rounds=_rounds(estimator),
        n_numbers=_count_numbers(estimator),
        answers_by="predict" if task == "regression" else _method(estimator),
    )


def answers(estimator: Any, rows: np.ndarray, classes: np.ndarray, n_outputs: int, task: Task) -> np.ndarray:
    """Predict standardised rows with a fitted estimator.

    Probabilities come from `predict_proba`. Without it, they are a softmax of `decision_function` (of zero
    and its value for two classes; sigmoids in `multi-label`). Without both, the class from `predict` has
    probability 1.

    Args:
        estimator: The fitted estimator.
        rows: Standardised rows, shape (n, D).
        classes: Class of each of its output columns, shape (k,); other classes have probability 0.
        n_outputs: C.
        task: The task, which determines the kind of outputs.

    Returns:
        Probabilities, shape (n, C), or values (n, 1); float64.
    """
    if task == "regression":
        return np.asarray(estimator.predict(rows), dtype=np.float64).reshape(len(rows), -1)[:, :1]
    if task == "multi-label" and n_outputs > 1:
        return _label_by_label(estimator, rows, n_outputs)
    own = classes if task == "single-label" else np.arange(2)
    found = _columns(estimator, rows, own)
    probabilities = np.zeros((len(rows), max(n_outputs, int(own.max()) + 1)))
    probabilities[:, own] = found
    return probabilities if task == "single-label" else probabilities[:, 1:]


def _columns(estimator: Any, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return probabilities of the estimator's own classes, (n, k)."""
    method = _method(estimator)
    if method == "predict":
        return (np.asarray(estimator.predict(rows)).reshape(-1, 1) == classes).astype(np.float64)
    values = np.asarray(getattr(estimator, method)(rows), dtype=np.float64)
    if method == "predict_proba":
        return values
    if values.ndim == 1:
        values = np.column_stack([np.zeros(len(values)), values])
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def _label_by_label(estimator: Any, rows: np.ndarray, n_outputs: int) -> np.ndarray:
    """Return the probability of each label in `multi-label`, (n, C)."""
    method = _method(estimator)
    values = getattr(estimator, method)(rows)
    if isinstance(values, list):  # trees and neighbours: an array (n, k) for each label
        ones = [np.flatnonzero(np.asarray(own) == 1) for own in estimator.classes_]
        return np.column_stack([each[:, at].sum(axis=1) for each, at in zip(values, ones, strict=True)])
    values = np.asarray(values, dtype=np.float64).reshape(len(rows), n_outputs)
    return 0.5 * (1 + np.tanh(0.5 * values)) if method == "decision_function" else values


def _method(estimator: Any) -> str:
    """Return the most informative prediction method of a classifier."""
    return next((name for name in ("predict_proba", "decision_function") if hasattr(estimator, name)), "predict")


def _takes_several(estimator: Any) -> bool:
    """Return whether the estimator declares that it accepts 2-D targets."""
    try:
        from sklearn.utils import get_tags

        tags = get_tags(estimator)
    except Exception:  # tags exist since scikit-learn 1.6; third-party estimators may lack them
        return False
    return bool(tags.target_tags.multi_output or (tags.classifier_tags and tags.classifier_tags.multi_label))


def _rounds(estimator: Any) -> int:
    """Return the solver's iterations, the maximum over classes; 1 if the estimator does not report them."""
    rounds = getattr(estimator, "n_iter_", None)
    return max(1, int(np.max(rounds))) if rounds is not None and np.size(rounds) else 1


def _count_numbers(estimator: Any) -> int:
    """Count the floats in the fitted attributes (whose names end in _), including those of sub-estimators."""
    count = 0
    for name, value in vars(estimator).items():
        if name.endswith("_") and not name.startswith("_"):
            for part in value if isinstance(value, list) else [value]:
                count += _numbers_of(part)
    return count


def _numbers_of(value: Any) -> int:
    if isinstance(value, np.ndarray) and value.dtype == object:
        return sum(_numbers_of(part) for part in value.flat)
    if isinstance(value, np.ndarray):
        return value.size if value.dtype.kind == "f" else 0
    # A tree: count the thresholds of its inner nodes and the values of its leaves.
    if hasattr(value, "threshold") and hasattr(value, "children_left"):
        inner = value.children_left >= 0
        return int(inner.sum()) + value.value[~inner].size
    return _count_numbers(value) if hasattr(value, "get_params") else 0


def _closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar, or None."""
    by_small = {item.casefold(): item for item in known}
    near = difflib.get_close_matches(name.casefold(), by_small, n=1)
    return by_small[near[0]] if near else None


def _first_line(message: object) -> str:
    return (str(message).strip() or repr(message)).splitlines()[0]
