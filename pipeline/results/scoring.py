"""Compute the score columns of the results table, and the additional contents of `results.json`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from features.backbones.presets.corpora import Corpus
from features.errors import RunError
from features.manifest import Manifest
from heads.evaluation import metrics
from heads.evaluation.bootstrap import draws_for
from heads.evaluation.class_scores import class_estimates
from heads.evaluation.majority import BASELINE
from heads.evaluation.predictions import Predictions
from heads.evaluation.scores import CLASS_SCORES, SCORES, Evidence, estimation_of
from heads.evaluation.statistics import TieTest
from heads.splits.fold_names import natural_order
from pipeline.results.contamination import exposure_of
from pipeline.results.fit import Fit
from pipeline.results.table import CONTAMINATION, METRIC_COLUMNS, columns_of, interval_columns, score_columns

Row = dict[str, Any]
Rows = list[Row]
Control = tuple[int, str]  # an untrained control's position in the models, and its label


def score(
    fits: Sequence[Fit],
    manifest: Manifest,
    group_of: np.ndarray,
    n_failed: int,
    backbone_of: Mapping[str, str] | None = None,
    corpus: Corpus | None = None,
    on_model: Callable[[Fit, list[Predictions], list[Predictions]], object] = lambda fit, predictions, pooled: None,
) -> tuple[Rows, Rows]:
    """Compute the rows of the results table, and of each row its entry in `results.json`.

    The predictions of one model are in memory at a time.

    Args:
        fits: The models of one dataset, tested on the same clips.
        manifest: The clips.
        group_of: Group of each manifest row, by which intervals are clustered.
        n_failed: Number of clips excluded from all scores.
        backbone_of: Backbone of each label; a pretrained one is compared with its untrained control.
        corpus: The corpus of the clips; None: none with a known origin.
        on_model: Called with each model, its predictions, one per fold, seed and draw, and the same pooled over folds,
            clips in the order of their ids.

    Returns:
        Rows of the table, and the entries of `results.json`.

    Raises:
        RunError: Models were tested on different clips.
    """
    task = manifest.task
    width = 1 if task == "regression" else len(manifest.labels)
    n_draws = draws_for(task, max(fit.n_rows for fit in fits) * width)
    tested, groups = _tested(fits[0], manifest, group_of)
    measured: list[tuple[Row, Row, Evidence]] = []
    for fit in fits:
        predictions = fit.predictions(manifest.labels, task)
        pooled = list(metrics.pool(predictions).values())
        if not np.array_equal(pooled[0].ids, tested):
            raise RunError(f"{fit.folder}: tested on other clips than {fits[0].folder}; run train-heads again")
        measured.append(_measured(predictions, pooled, groups, manifest, n_draws))
        on_model(fit, predictions, pooled)
    compared = estimation_of(task).compare([evidence for _, _, evidence in measured], groups, n_draws)
    controls = [_control_of(fit, fits, backbone_of or {}) for fit in fits]
    baseline = next((at for at, fit in enumerate(fits) if fit.about.get("family") == BASELINE), None)
    columns = columns_of(task)
    given = manifest.clips.set_index("id").loc[tested, "group"].nunique() if "group" in manifest.clips else 0
    rows, more = [], []
    for at, (fit, (own, detail, _)) in enumerate(zip(fits, measured, strict=True)):
        own = {"n_test": len(groups), "n_failed": n_failed, "n_groups": given, **own}
        own["tied_with_best"] = compared[at].tied
        detail |= _comparison(compared, at, controls[at], n_draws) | _against_baseline(compared, at, baseline)
        model = str(fit.about["model"])
        seen = exposure_of(fit.about, (backbone_of or {}).get(model, model), corpus)
        own[CONTAMINATION] = None if seen is None else seen.mark
        rows.append({column: own.get(column, fit.about.get(column)) for column in columns})
        about = {key: value for key, value in fit.about.items() if key not in columns}
        more.append(rows[-1] | detail | about | {"folder": str(fit.folder), "pairs": _pairs(compared[at], fits)})
    return rows, more


def _pairs(own: TieTest, fits: Sequence[Fit]) -> list[Row]:
    """Return the comparison of a model with each other one: difference, ends of its interval, corrected p-value."""
    return [
        {name: fits[int(other)].about.get(name) for name in ("model", "head", "pooling")}
        | {"difference": difference, "ci_low": _finite(low), "ci_high": _finite(high), "p_value": own.p_values[other]}
        for other, (difference, low, high) in own.differences.items()
    ]


def _tested(fit: Fit, manifest: Manifest, group_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of a model's test clips, sorted, and the number of the group of each."""
    ids = np.unique(fit.table(["id"])["id"].to_numpy())
    groups = pd.Series(group_of, index=manifest.clips["id"]).loc[ids].to_numpy()
    return ids, np.unique(groups, return_inverse=True)[1]


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
    predictions: list[Predictions],
    pooled: list[Predictions],
    groups: np.ndarray,
    manifest: Manifest,
    n_draws: int,
) -> tuple[Row, Row, Evidence]:
    """Compute the scores of one model.

    Args:
        predictions: One per fold, seed and draw.
        pooled: One per seed and draw, from `metrics.pool`.
        groups: Number of the group of each test clip.
        manifest: The clips.
        n_draws: Number of bootstrap draws.

    Returns:
        Columns of the table, details for `results.json`, and what the comparison with other models needs.
    """
    first, *others = SCORES[manifest.task]
    evidence = estimation_of(manifest.task).evidence(pooled, groups, n_draws)
    name = first.column or first.name
    found = {score: score.of(pooled) for score in others}
    ends = {score: score.interval(pooled, groups) for score in others if score.interval}
    low, high = evidence.interval
    row = (
        dict.fromkeys(score_columns())  # columns of other tasks stay empty
        | {name: evidence.value, f"{name}_ci_low": low, f"{name}_ci_high": high}
        | ({"metric": first.name} if name in METRIC_COLUMNS else {})
        | {score.column: value for score, value in found.items() if score.column}
        | {column: end for score in ends for column, end in zip(interval_columns(score), ends[score], strict=False)}
    )
    detail = {
        **_repetitions(predictions, pooled, first.of, name),
        **{score.name: value for score, value in found.items() if not score.column},
        **{f"{score.name}_ci": list(ends[score]) for score in ends if not interval_columns(score)},
        **_by_class(pooled, groups, manifest),
    }
    return row, detail, evidence


def _by_class(pooled: list[Predictions], groups: np.ndarray, manifest: Manifest) -> Row:
    """Return the score of each tested class by its label, and its interval if there is one."""
    score = CLASS_SCORES.get(manifest.task)
    if score is None:
        return {}
    labels = manifest.labels  # computed from all clips
    values = score.of(pooled)
    tested = np.flatnonzero(np.isfinite(values)).tolist()
    found: dict[str, Any] = {score.name: {labels[own]: float(values[own]) for own in tested}}
    if score.intervals is not None:
        ends = score.intervals(pooled, groups)
        found[f"{score.name}_ci"] = {labels[own]: list(ends[own]) for own in tested}
    found["classes"] = {labels[own]: asdict(estimates) for own, estimates in class_estimates(pooled, groups).items()}
    return found


def _repetitions(
    predictions: list[Predictions], pooled: list[Predictions], figure: metrics.ScoreFunction, name: str
) -> Row:
    """Return the scores by fold, by seed and, if there are several, by draw."""
    folds = metrics.fold_scores(predictions, figure)
    seeds, draws = metrics.seed_scores(pooled, figure), metrics.draw_scores(pooled, figure)
    found: dict[str, Any] = {
        "mean_of_folds": _finite(float(np.mean(list(folds.values())))),
        f"fold_{name}": {str(fold): _finite(folds[fold]) for fold in natural_order(folds)},
        f"seed_{name}": {str(seed): _finite(value) for seed, value in seeds.items()},
        "seed_std": metrics.spread(seeds.values()),
    }
    if len(draws) > 1:
        found[f"draw_{name}"] = {str(draw): _finite(value) for draw, value in draws.items()}
        found["draw_std"] = metrics.spread(draws.values())
    return found


def _comparison(compared: Sequence[TieTest], at: int, control: Control | None, n_draws: int) -> Row:
    """Compare a model with the best, and with its untrained control if it has one."""
    own = compared[at]
    found = {"difference_to_best": own.difference, "p_value": own.p_value, "bootstrap_draws": n_draws}
    if control is None:
        return found
    position, model = control
    gain = compared[position].difference - own.difference
    return found | {"control": {"model": model, "gain": gain, "p_value": own.p_values[str(position)]}}


def _against_baseline(compared: Sequence[TieTest], at: int, baseline: int | None) -> Row:
    """Compare a model with the majority row."""
    if baseline is None or at == baseline:
        return {}
    gain = compared[baseline].difference - compared[at].difference
    return {"majority": {"gain": gain, "p_value": compared[at].p_values[str(baseline)]}}


def _finite(value: float) -> float | None:
    """Return a number that JSON can represent: None for NaN and infinity."""
    return value if math.isfinite(value) else None
