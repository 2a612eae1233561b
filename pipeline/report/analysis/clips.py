"""The test clips of an experiment with the predictions of every model, as compact JSON for the page's script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from features.manifest import Manifest
from heads.evaluation import metrics
from heads.evaluation.predictions import Predictions
from pipeline.report.study import Study, StudyModel

THOUSANDTHS = 1000


def tested_rows(study: Study) -> np.ndarray:
    """Return the manifest rows of the test clips, in manifest order, shape (T,).

    The position of a clip in this array is its number in the page, used in `Series.clips` and in the script's
    `study.clips`.
    """
    tested = {clip for one in study.learned[0].predictions for clip in one.ids}
    return np.flatnonzero(study.manifest.clips["id"].isin(tested).to_numpy())


def positions(study: Study) -> dict[str, int]:
    """Return id -> number in the page for every test clip."""
    return {str(clip): at for at, clip in enumerate(study.manifest.clips["id"].iloc[tested_rows(study)])}


def clips_json(study: Study, sources: Sequence[str | None]) -> dict[str, Any]:
    """Return the clips and predictions as JSON values for the page.

    Args:
        study: The experiment.
        sources: The URL of the audio for each clip of `tested_rows`; None if a clip has no audio.

    Returns:
        `task`, `labels`, `clips` (columns `id`, `target`, `duration`, `src`, one entry per clip) and `models`. Each
        model has `title`, `family`, `weights` and `predicted`: one list per repetition (seed and draw) with one entry
        per clip. For single-label data, `confidence` and `truth` in the same layout are the probabilities of the
        predicted and of the true class in thousandths. A class is its position in `labels`; multi-label data has
        lists of classes. In regression, target and prediction are numbers.
    """
    rows, manifest = tested_rows(study), study.manifest
    ids = manifest.clips["id"].iloc[rows].tolist()
    order = np.argsort(np.argsort(np.asarray(ids, dtype=object)))  # predictions are sorted by id
    return {
        "task": manifest.task,
        "labels": manifest.labels,
        "clips": {
            "id": ids,
            "target": _targets(manifest, rows),
            "duration": [_rounded(study.inputs.contents[row].duration_s) for row in rows],
            "src": list(sources),
        },
        "models": [_model(model, order) for model in study.learned],
    }


def _targets(manifest: Manifest, rows: np.ndarray) -> list[Any]:
    values = manifest.clips["label"].iloc[rows].tolist()
    if manifest.task == "regression":
        return [_rounded(value) for value in values]
    numbers = {label: number for number, label in enumerate(manifest.labels)}
    if manifest.task == "multi-label":
        return [[numbers[name] for name in names] for names in values]
    return [numbers[name] for name in values]


def _model(model: StudyModel, order: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": model.title,
        "family": model.row["family"],
        "weights": model.row["weights"],
        "predicted": [],
    }
    for one in metrics.pool(model.predictions).values():
        predicted = _predicted(one)
        found["predicted"].append([predicted[at] for at in order])
        if one.task == "single-label":
            for key, classes in (("confidence", one.predicted), ("truth", one.targets)):
                probability = one.probabilities[np.arange(len(classes)), classes].astype(np.float64)
                found.setdefault(key, []).append(np.rint(probability * THOUSANDTHS).astype(int)[order].tolist())
    return found


def _predicted(one: Predictions) -> list[Any]:
    if one.task == "multi-label":
        return [np.flatnonzero(row).tolist() for row in one.predicted]
    return [_rounded(value) for value in one.predicted] if one.task == "regression" else one.predicted.tolist()


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
