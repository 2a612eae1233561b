"""Stage 3 of an experiment: kept predictions to one results table, with intervals, ties and costs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.errors import RunError
from features.manifest import Manifest
from features.seal import library_versions
from heads import metrics
from heads.fold_names import natural_order
from heads.groups import clip_groups
from heads.predictions import Predictions, from_frame
from heads.statistics import Comparison, accuracy_interval, tied_with_best
from pipeline.config import Config
from pipeline.console import Console
from pipeline.extraction import load_checked_manifest
from pipeline.inputs import read_inputs
from pipeline.results import COLUMNS, LEGEND, NUMBERS, SHOWN, SPARE, counted, markdown, shown_rows, table_of, title
from pipeline.run_folder import Fit, write_json
from pipeline.training import collect_predictions, read_fits


def run_report(config: Config, *, console: Console) -> None:
    """Score every trained model and write `results.csv`, `results.md` and `results.json`; print the table.

    Args:
        config: The experiment.
        console: Where the table is printed.

    Raises:
        UserError: A model of this config is not trained yet.
        RunError: The report cannot be written.
    """
    manifest = load_checked_manifest(config)
    fits = read_fits(config)
    collect_predictions(config, manifest)
    inputs = read_inputs(config, manifest)
    failures = inputs.failures
    groups = clip_groups(manifest, [content.key for content in inputs.contents])
    rows, details = score(fits, manifest, groups, len(failures))
    table = table_of(rows)
    folder = config.run_dir / "report"
    warnings = list(dict.fromkeys(warning for fit in fits for warning in fit.about["warnings"]))
    _write(folder, table, details, failures, warnings)
    left_out = console.table(
        list(SHOWN.values()), shown_rows(table), title=title(table), right=NUMBERS, foldable=["weights"], spare=SPARE
    )
    if left_out:
        console.line(f"too narrow here for {', '.join(left_out)}; results.md has all of it")
    console.line(LEGEND)
    for warning in warnings:
        console.line(f"warning: {warning}")
    if failures:
        clip, reason = next(iter(failures.items()))
        console.line(
            f"{counted(len(failures), 'clip')} failed, in no score, first {clip}: {reason} (all in results.md)"
        )
    console.line(f"report {manifest.name}: {counted(len(table), 'row')} → {folder}/results.csv, .md, .json")


def score(
    fits: Sequence[Fit], manifest: Manifest, group_of: np.ndarray, n_failed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the table, and beside each what `results.json` says more.

    Args:
        fits: The models; all of one dataset, tested on the same clips.
        manifest: The clips.
        group_of: Of each manifest row: what intervals are clustered by.
        n_failed: Clips in no score.

    Raises:
        RunError: Models were tested on different clips.
    """
    labels = manifest.labels
    parsed = [from_frame(fit.predictions, labels) for fit in fits]
    scores = [metrics.clip_scores(predictions) for predictions in parsed]
    ids = scores[0].index
    for fit, clips in zip(fits, scores, strict=True):
        if not clips.index.equals(ids):
            raise RunError(f"{fit.folder}: tested on other clips than {fits[0].folder}; run train-heads again")
    groups = pd.Series(group_of, index=manifest.clips["id"]).loc[ids].to_numpy()
    comparisons = tied_with_best({str(at): one["score"].to_numpy() for at, one in enumerate(scores)}, groups)
    rows, details = [], []
    for at, (fit, predictions) in enumerate(zip(fits, parsed, strict=True)):
        low, high = accuracy_interval(scores[at]["score"].to_numpy(), groups)
        measured = {
            "n_test": len(ids),
            "n_failed": n_failed,
            "accuracy": metrics.accuracy(predictions),
            "accuracy_ci_low": low,
            "accuracy_ci_high": high,
            "macro_f1": metrics.macro_f1(predictions),
            "log_loss": metrics.log_loss(predictions),
            "tied_with_best": comparisons[str(at)].tied,
        }
        row = {column: measured.get(column, fit.about.get(column)) for column in COLUMNS}
        rows.append(row)
        details.append(row | _detail(fit, predictions, comparisons[str(at)], labels))
    return rows, details


def _detail(fit: Fit, predictions: list[Predictions], comparison: Comparison, labels: list[str]) -> dict[str, Any]:
    """What `results.json` adds to a row."""
    by_class = metrics.per_class_accuracy(predictions)
    folds = metrics.fold_accuracies(predictions)
    return {
        "mean_of_folds": metrics.mean_of_folds(predictions),
        "fold_accuracy": {str(fold): folds[fold] for fold in natural_order(folds)},
        "seed_accuracy": {str(seed): value for seed, value in metrics.seed_accuracies(predictions).items()},
        "class_accuracy": {
            label: float(value) for label, value in zip(labels, by_class, strict=True) if value == value
        },
        "difference_to_best": comparison.difference,
        "p_value": comparison.p_value,
        **{key: value for key, value in fit.about.items() if key not in COLUMNS},
        "folder": str(fit.folder),
    }


def _write(
    folder: Path, table: pd.DataFrame, details: list[dict[str, Any]], failures: dict[str, str], warnings: list[str]
) -> None:
    """The report's files; all show the same numbers."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / "results.csv", index=False)
        (folder / "results.md").write_text(markdown(table, failures, warnings), encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {folder} ({error.strerror or error})") from error
    write_json(
        folder / "results.json",
        {
            "created_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": library_versions(),
            "interval": "95 %, accuracy of these models on new groups: heads/statistics.py",
            "rows": details,
            "warnings": warnings,
            "failures": failures,
        },
    )
