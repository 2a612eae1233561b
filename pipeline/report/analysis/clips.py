"""Test clips of an experiment with the predictions of every model, as compact JSON for the page's script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from features.labels import Task
from features.manifest import Manifest
from pipeline.report.study import Study, StudyModel

THOUSANDTHS = 1000


def clips_json(study: Study, clips: np.ndarray, sources: Sequence[str | None]) -> dict[str, Any]:
    """Return some test clips and their predictions as JSON values for the page.

    Args:
        study: The experiment.
        clips: Numbers of the clips, see `Study.tested`, ascending, shape (n,).
        sources: The URL of the audio of each clip; None if a clip has no audio.

    Returns:
        `task`, `labels`, `clips` (columns `number`, `id`, `target`, `duration`, `src`, one entry per clip) and
        `models`. Each model has `title`, `family`, `weights` and `predicted`: one list per repetition (seed and draw)
        with one entry per clip. For single-label data, `confidence` and `truth` in the same layout are the
        probabilities of the predicted and of the true class in thousandths. A class is its position in `labels`;
        multi-label data has lists of classes. In regression, target and prediction are numbers.
    """
    rows, manifest = study.tested[clips], study.manifest
    return {
        "task": manifest.task,
        "labels": manifest.labels,
        "clips": {
            "number": clips.tolist(),
            "id": manifest.clips["id"].iloc[rows].tolist(),
            "target": _targets(manifest, rows),
            "duration": [_rounded(study.inputs.contents[row].duration_s) for row in rows],
            "src": list(sources),
        },
        "models": [_model(model, clips) for model in study.learned],
    }


def _targets(manifest: Manifest, rows: np.ndarray) -> list[Any]:
    values = manifest.clips["label"].iloc[rows].tolist()
    if manifest.task == "regression":
        return [_rounded(value) for value in values]
    numbers = {label: number for number, label in enumerate(manifest.labels)}
    if manifest.task == "multi-label":
        return [[numbers[name] for name in names] for names in values]
    return [numbers[name] for name in values]


def _model(model: StudyModel, clips: np.ndarray) -> dict[str, Any]:
    outcomes = model.outcomes
    found: dict[str, Any] = {
        "title": model.title,
        "family": model.row["family"],
        "weights": model.row["weights"],
        "predicted": [_predicted(own, outcomes.task) for own in outcomes.predicted(clips)],
    }
    for key, values in (("confidence", outcomes.confidence), ("truth", outcomes.truth)):
        if values is not None:
            found[key] = np.rint(values[:, clips].astype(np.float64) * THOUSANDTHS).astype(int).tolist()
    return found


def _predicted(values: np.ndarray, task: Task) -> list[Any]:
    if task == "multi-label":
        return [np.flatnonzero(row).tolist() for row in values]
    return [_rounded(value) for value in values] if task == "regression" else values.tolist()


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
