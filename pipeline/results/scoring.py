"""Kept predictions to the measured columns of the table, and what `results.json` says beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.errors import RunError
from features.manifest import Manifest
from heads.evaluation import metrics
from heads.evaluation.bootstrap import RESAMPLED, draws_for
from heads.evaluation.predictions import Predictions, from_frame
from heads.evaluation.statistics import DRAWS, Comparison, accuracy_interval, compare, tied_with_best
from heads.splits.fold_names import natural_order
from pipeline.results.run_folder import Fit
from pipeline.results.table import COLUMNS, METRIC_COLUMNS

Rows = list[dict[str, Any]]
Control = tuple[int, str]  # an untrained control's place among the models, and its label


def score(
    fits: Sequence[Fit],
    manifest: Manifest,
    group_of: np.ndarray,
    n_failed: int,
    backbone_of: Mapping[str, str] | None = None,
) -> tuple[Rows, Rows]:
    """Rows of the table, and beside each what `results.json` says more.

    Args:
        fits: The models; all of one dataset, tested on the same clips.
        manifest: The clips.
        group_of: Of each manifest row: what intervals are clustered by.
        n_failed: Clips in no score.
        backbone_of: The backbone behind a label; a pretrained one is set beside its untrained control.

    Raises:
        RunError: Models were tested on different clips.
    """
    parsed = [from_frame(fit.predictions, manifest.labels, manifest.task) for fit in fits]
    tested = [next(iter(metrics.pool(predictions).values())).ids for predictions in parsed]
    for fit, ids in zip(fits, tested, strict=True):
        if not np.array_equal(ids, tested[0]):
            raise RunError(f"{fit.folder}: tested on other clips than {fits[0].folder}; run train-heads again")
    groups = pd.Series(group_of, index=manifest.clips["id"]).loc[tested[0]].to_numpy()
    controls = [_control_of(fit, fits, backbone_of or {}) for fit in fits]
    if manifest.task == "single-label":
        measured, details = _accuracies(parsed, groups, manifest.labels, controls)
    else:
        measured, details = _metrics(parsed, groups, manifest, controls)
    rows, more = [], []
    for fit, own, detail in zip(fits, measured, details, strict=True):
        own = {"n_test": len(groups), "n_failed": n_failed, **own}
        columns = COLUMNS if manifest.task == "single-label" else COLUMNS + METRIC_COLUMNS
        rows.append({column: own.get(column, fit.about.get(column)) for column in columns})
        about = {key: value for key, value in fit.about.items() if key not in columns}
        more.append(rows[-1] | detail | about | {"folder": str(fit.folder)})
    return rows, more


def _control_of(fit: Fit, fits: Sequence[Fit], backbone_of: Mapping[str, str]) -> Control | None:
    """A pretrained model's untrained control: same backbone, head and pooling, random weights."""

    def kind(one: Fit) -> tuple[Any, ...]:
        return backbone_of.get(one.about["model"]), one.about["head"], one.about["pooling"]

    if fit.about["model"] not in backbone_of or is_control(fit.about):
        return None
    controls = [(at, one) for at, one in enumerate(fits) if is_control(one.about) and kind(one) == kind(fit)]
    return next(((at, one.about["model"]) for at, one in controls), None)


def is_control(about: Mapping[str, Any]) -> bool:
    """Whether a model, by its row or `fit.json`, is a head on a network whose random weights nobody trained."""
    return about["weights"] == "untrained" and about["family"] == "frozen"


def _accuracies(
    parsed: Sequence[list[Predictions]], groups: np.ndarray, labels: Sequence[str], controls: Sequence[Control | None]
) -> tuple[Rows, Rows]:
    """What is measured of single-label models."""
    clips = [metrics.clip_scores(predictions) for predictions in parsed]
    comparisons = tied_with_best({str(at): one["score"].to_numpy() for at, one in enumerate(clips)}, groups)
    measured, details = [], []
    for at, predictions in enumerate(parsed):
        scores, target = clips[at]["score"].to_numpy(), clips[at]["target"].to_numpy()
        low, high = accuracy_interval(scores, groups)
        by_class = metrics.per_class_accuracy(predictions)
        tested = np.flatnonzero(np.isfinite(by_class)).tolist()
        measured.append(
            {
                "accuracy": metrics.accuracy(predictions),
                "accuracy_ci_low": low,
                "accuracy_ci_high": high,
                "macro_f1": metrics.macro_f1(predictions),
                "log_loss": metrics.log_loss(predictions),
                "tied_with_best": comparisons[str(at)].tied,
            }
        )
        details.append(
            {
                **_repetitions(predictions, metrics.accuracy, "accuracy"),
                "class_accuracy": {labels[own]: float(by_class[own]) for own in tested},
                "class_accuracy_ci": {
                    labels[own]: list(accuracy_interval(scores[target == own], groups[target == own])) for own in tested
                },
                **_comparison(comparisons, at, controls[at], DRAWS),
            }
        )
    return measured, details


def _metrics(
    parsed: Sequence[list[Predictions]], groups: np.ndarray, manifest: Manifest, controls: Sequence[Control | None]
) -> tuple[Rows, Rows]:
    """What is measured of multi-label models and of those that predict a number."""
    name, figure = metrics.METRICS[manifest.task]
    n_draws = draws_for(parsed)
    found = [RESAMPLED[manifest.task](predictions, groups, n_draws) for predictions in parsed]
    comparisons = compare(
        {str(at): one.value for at, one in enumerate(found)},
        np.stack([one.draws for one in found], axis=1),
        len(np.unique(groups)),
    )
    measured, details = [], []
    for at, (predictions, one) in enumerate(zip(parsed, found, strict=True)):
        more = {"value": one.value, "value_ci_low": one.low, "value_ci_high": one.high}
        if manifest.task == "multi-label":
            more["macro_f1"] = metrics.macro_f1(predictions)
            by_class = metrics.class_average_precision(predictions)
            beside: dict[str, Any] = {
                "micro_f1": metrics.micro_f1(predictions),
                "class_average_precision": {
                    label: float(value)
                    for label, value in zip(manifest.labels, by_class, strict=True)
                    if value == value
                },
            }
        else:
            beside = {"mse": metrics.squared_error(predictions), "pearson": metrics.correlation(predictions)}
        tied = comparisons[str(at)].tied
        # In the table these three stay empty: they are of single-label data.
        measured.append({"accuracy": None, "log_loss": None, "metric": name, "tied_with_best": tied, **more})
        details.append(
            {
                **_repetitions(predictions, figure, "value"),
                **beside,
                **_comparison(comparisons, at, controls[at], n_draws),
            }
        )
    return measured, details


def _repetitions(predictions: list[Predictions], figure: metrics.Score, name: str) -> dict[str, Any]:
    """The score fold by fold, seed by seed and, where there are several, draw by draw."""
    folds = metrics.fold_scores(predictions, figure)
    seeds, draws = metrics.seed_scores(predictions, figure), metrics.draw_scores(predictions, figure)
    found: dict[str, Any] = {
        "mean_of_folds": _finite(metrics.mean_of_folds(predictions, figure)),
        f"fold_{name}": {str(fold): _finite(folds[fold]) for fold in natural_order(folds)},
        f"seed_{name}": {str(seed): _finite(value) for seed, value in seeds.items()},
        "seed_std": metrics.spread(seeds.values()),
    }
    if len(draws) > 1:
        found[f"draw_{name}"] = {str(draw): _finite(value) for draw, value in draws.items()}
        found["draw_std"] = metrics.spread(draws.values())
    return found


def _comparison(comparisons: Mapping[str, Comparison], at: int, control: Control | None, draws: int) -> dict[str, Any]:
    """A model beside the best, and beside its untrained control where there is one."""
    own = comparisons[str(at)]
    found = {"difference_to_best": own.difference, "p_value": own.p_value, "bootstrap_draws": draws}
    if control is None:
        return found
    place, model = str(control[0]), control[1]
    gain = comparisons[place].difference - own.difference
    return found | {"control": {"model": model, "gain": gain, "p_value": own.p_values[place]}}


def _finite(value: float) -> float | None:
    """A number JSON can hold."""
    return value if math.isfinite(value) else None
