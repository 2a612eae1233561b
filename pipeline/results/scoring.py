"""Compute the score columns of the results table, and the additional contents of `results.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from features.backbones.presets.corpora import Corpus
from features.errors import RunError
from features.manifest import Manifest
from heads.evaluation import metrics
from heads.evaluation.class_scores import class_estimates
from heads.evaluation.majority import BASELINE
from heads.evaluation.predictions import Predictions
from heads.evaluation.scores import CLASS_SCORES, SCORES, Ranking, estimation_of
from heads.splits.fold_names import natural_order
from pipeline.results.contamination import exposure_of
from pipeline.results.fit_decisions import read_predictions
from pipeline.results.run_folder import Fit
from pipeline.results.table import CONTAMINATION, METRIC_COLUMNS, columns_of, interval_columns, score_columns

Rows = list[dict[str, Any]]
Control = tuple[int, str]  # an untrained control's position in the models, and its label


def score(
    fits: Sequence[Fit],
    manifest: Manifest,
    group_of: np.ndarray,
    n_failed: int,
    backbone_of: Mapping[str, str] | None = None,
    corpus: Corpus | None = None,
) -> tuple[Rows, Rows]:
    """Compute the rows of the results table, and of each row its entry in `results.json`.

    Args:
        fits: The models of one dataset, tested on the same clips.
        manifest: The clips.
        group_of: Group of each manifest row, by which intervals are clustered.
        n_failed: Number of clips excluded from all scores.
        backbone_of: Backbone of each label; a pretrained one is compared with its untrained control.
        corpus: The corpus of the clips; None: none with a known origin.

    Returns:
        Rows of the table, and the entries of `results.json`.

    Raises:
        RunError: Models were tested on different clips.
    """
    parsed = [read_predictions(fit.folder, fit.predictions, manifest.labels, manifest.task) for fit in fits]
    tested = [next(iter(metrics.pool(predictions).values())).ids for predictions in parsed]
    for fit, ids in zip(fits, tested, strict=True):
        if not np.array_equal(ids, tested[0]):
            raise RunError(f"{fit.folder}: tested on other clips than {fits[0].folder}; run train-heads again")
    groups = pd.Series(group_of, index=manifest.clips["id"]).loc[tested[0]].to_numpy()
    controls = [_control_of(fit, fits, backbone_of or {}) for fit in fits]
    baseline = next((at for at, fit in enumerate(fits) if fit.about.get("family") == BASELINE), None)
    measured, details = _measured(parsed, groups, manifest, controls, baseline)
    columns = columns_of(manifest.task)
    given = manifest.clips.set_index("id").loc[tested[0], "group"].nunique() if "group" in manifest.clips else 0
    rows, more = [], []
    for fit, own, detail in zip(fits, measured, details, strict=True):
        own = {"n_test": len(groups), "n_failed": n_failed, "n_groups": given, **own}
        model = str(fit.about["model"])
        seen = exposure_of(fit.about, (backbone_of or {}).get(model, model), corpus)
        own[CONTAMINATION] = None if seen is None else seen.mark
        rows.append({column: own.get(column, fit.about.get(column)) for column in columns})
        about = {key: value for key, value in fit.about.items() if key not in columns}
        more.append(rows[-1] | detail | about | {"folder": str(fit.folder)})
    return rows, more


def _control_of(fit: Fit, fits: Sequence[Fit], backbone_of: Mapping[str, str]) -> Control | None:
    """Return a pretrained model's untrained control: same backbone, head and pooling, but random weights."""

    def kind(one: Fit) -> tuple[Any, ...]:
        return backbone_of.get(one.about["model"]), one.about["head"], one.about["pooling"]

    if fit.about["model"] not in backbone_of or is_control(fit.about):
        return None
    controls = [(at, one) for at, one in enumerate(fits) if is_control(one.about) and kind(one) == kind(fit)]
    return next(((at, one.about["model"]) for at, one in controls), None)


def is_control(about: Mapping[str, Any]) -> bool:
    """Return whether a model (its row or `fit.json`) is a head on a network with untrained random weights."""
    return about["weights"] == "untrained" and about["family"] == "frozen"


def _measured(
    parsed: Sequence[list[Predictions]],
    groups: np.ndarray,
    manifest: Manifest,
    controls: Sequence[Control | None],
    baseline: int | None,
) -> tuple[Rows, Rows]:
    """Compute the scores of the models: columns of the table, and details for `results.json`."""
    task = manifest.task
    first, *others = SCORES[task]
    ranking = estimation_of(task).rank(parsed, groups)
    name = first.column or first.name
    measured, details = [], []
    for at, predictions in enumerate(parsed):
        found = {score: score.of(predictions) for score in others}
        ends = {score: score.interval(predictions, groups) for score in others if score.interval}
        low, high = ranking.intervals[at]
        measured.append(
            dict.fromkeys(score_columns())  # columns of other tasks stay empty
            | {name: ranking.values[at], f"{name}_ci_low": low, f"{name}_ci_high": high}
            | ({"metric": first.name} if name in METRIC_COLUMNS else {})
            | {score.column: value for score, value in found.items() if score.column}
            | {column: end for score in ends for column, end in zip(interval_columns(score), ends[score], strict=False)}
            | {"tied_with_best": ranking.comparisons[at].tied}
        )
        details.append(
            {
                **_repetitions(predictions, first.of, name),
                **{score.name: value for score, value in found.items() if not score.column},
                **{f"{score.name}_ci": list(ends[score]) for score in ends if not interval_columns(score)},
                **_by_class(predictions, groups, manifest),
                **_comparison(ranking, at, controls[at]),
                **_against_baseline(ranking, at, baseline),
            }
        )
    return measured, details


def _by_class(predictions: list[Predictions], groups: np.ndarray, manifest: Manifest) -> dict[str, Any]:
    """Return the score of each tested class by its label, and its interval if there is one."""
    score = CLASS_SCORES.get(manifest.task)
    if score is None:
        return {}
    values = score.of(predictions)
    tested = np.flatnonzero(np.isfinite(values)).tolist()
    found: dict[str, Any] = {score.name: {manifest.labels[own]: float(values[own]) for own in tested}}
    if score.intervals is not None:
        ends = score.intervals(predictions, groups)
        found[f"{score.name}_ci"] = {manifest.labels[own]: list(ends[own]) for own in tested}
    found["classes"] = {
        manifest.labels[own]: asdict(estimates) for own, estimates in class_estimates(predictions, groups).items()
    }
    return found


def _repetitions(predictions: list[Predictions], figure: metrics.ScoreFunction, name: str) -> dict[str, Any]:
    """Return the scores by fold, by seed and, if there are several, by draw."""
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


def _comparison(ranking: Ranking, at: int, control: Control | None) -> dict[str, Any]:
    """Compare a model with the best, and with its untrained control if it has one."""
    own = ranking.comparisons[at]
    found = {"difference_to_best": own.difference, "p_value": own.p_value, "bootstrap_draws": ranking.draws}
    if control is None:
        return found
    position, model = control
    gain = ranking.comparisons[position].difference - own.difference
    return found | {"control": {"model": model, "gain": gain, "p_value": own.p_values[str(position)]}}


def _against_baseline(ranking: Ranking, at: int, baseline: int | None) -> dict[str, Any]:
    """Compare a model with the majority row."""
    if baseline is None or at == baseline:
        return {}
    gain = ranking.comparisons[baseline].difference - ranking.comparisons[at].difference
    return {"majority": {"gain": gain, "p_value": ranking.comparisons[at].p_values[str(baseline)]}}


def _finite(value: float) -> float | None:
    """Return a number that JSON can represent: None for NaN and infinity."""
    return value if math.isfinite(value) else None
