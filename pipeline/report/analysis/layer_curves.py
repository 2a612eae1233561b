"""Test scores by layer, validation losses by layer for models without those, and the weights of weighted sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from heads.evaluation.predictions import Predictions
from heads.evaluation.scores import estimation_of
from heads.splits.targets import targets_of
from heads.training.train import layer_positions
from pipeline.report.study import Study, StudyModel
from pipeline.stages.layer_predictions import FIT, layer_predictions


@dataclass(frozen=True)
class LayerCurve:
    """Values of one model by layer.

    Attributes:
        title: Display name of the model.
        model: Its backbone.
        layers: The backbone's layer indices, ascending, shape (L,).
        values: Score, log loss or weight of each layer, shape (L,).
        low: Lower ends of the intervals, shape (L,); empty if there are none.
        high: Upper ends of the intervals, shape (L,); empty if there are none.
        chosen: Number of fits (folds × seeds × draws) that chose each layer, shape (L,); empty if not applicable.
        n_fits: Number of fits.
    """

    title: str
    model: str
    layers: list[int]
    values: list[float]
    low: list[float]
    high: list[float]
    chosen: list[int]
    n_fits: int


def score_curves(study: Study) -> list[LayerCurve]:
    """Return test scores by layer with intervals, for the models that stored predictions by layer."""
    targets, ids = targets_of(study.manifest), study.manifest.clips["id"].tolist()
    tested = study.tested[np.argsort(study.manifest.clips["id"].to_numpy(dtype=object)[study.tested])]
    groups = study.groups[tested]
    found = []
    for model in study.learned:
        expected = _expected(model)
        scored = {
            layer: score_with_interval(predictions, groups)
            for layer, predictions in layer_predictions(model.fit.folder, targets, ids)
            if fits_of(predictions) == expected
        }
        if scored:
            layers = sorted(scored)
            values, low, high = (list(column) for column in zip(*(scored[layer] for layer in layers), strict=True))
            found.append(
                LayerCurve(model.title, str(model.row["model"]), layers, values, low, high, *_chosen(model, layers))
            )
    return found


def score_with_interval(predictions: Sequence[Predictions], groups: np.ndarray) -> tuple[float, float, float]:
    """Return the ranking score of the task and its 95 % interval, computed as in the results table.

    Args:
        predictions: Predictions of one layer of one model, all folds and repetitions.
        groups: Group of each test clip, sorted by clip id.

    Returns:
        Score, lower end and upper end.
    """
    return estimation_of(predictions[0].task).interval(predictions, groups)


def fits_of(predictions: Sequence[Predictions]) -> set[tuple[str, int, int]]:
    """Return fold, seed and draw of each fit."""
    return {(str(one.fold), one.seed, one.draw) for one in predictions}


def _expected(model: StudyModel) -> set[tuple[str, int, int]]:
    """Return fold, seed and draw of every fit of a model. A layer whose fit diverged has fewer."""
    table = model.fit.table(FIT)
    fits = table.group_by(table.column_names).aggregate([]).to_pylist()
    return {(str(fit["fold"]), int(fit["seed"]), int(fit.get("draw") or 0)) for fit in fits}


def _chosen(model: StudyModel, layers: Sequence[int]) -> tuple[list[int], int]:
    """Return the number of fits that chose each layer, and the number of fits."""
    picked = [choice["layer"] for choice in model.details.get("chosen", ())]
    return [picked.count(layer) for layer in layers], len(picked)


def validation_curves(study: Study, without: Sequence[str] = ()) -> list[LayerCurve]:
    """Return the validation log loss by layer: of the best candidate per fold and layer, mean over folds and draws.

    Args:
        study: The experiment.
        without: Titles of models to leave out.
    """
    found = []
    for model in study.learned:
        losses = {} if model.title in without else validation_losses(model.details.get("candidates") or {})
        if len(losses) > 1:
            layers = sorted(losses)
            values = [losses[layer] for layer in layers]
            found.append(
                LayerCurve(model.title, str(model.row["model"]), layers, values, [], [], *_chosen(model, layers))
            )
    return found


def validation_losses(candidates: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[int, float]:
    """Return the lowest validation loss of each layer, mean over folds, without layers that failed in any fold.

    Args:
        candidates: From `fit.json`, by fold; each has `layer` and `valid_loss` (None if it failed).
    """
    by_layer: dict[int, list[float]] = {}
    for scores in candidates.values():
        best: dict[int, float] = {}
        for score in scores:
            layer, loss = score["layer"], score["valid_loss"]
            if isinstance(layer, int) and loss is not None:
                best[layer] = min(loss, best.get(layer, loss))
        for layer, loss in best.items():
            by_layer.setdefault(layer, []).append(loss)
    return {layer: float(np.mean(losses)) for layer, losses in by_layer.items() if len(losses) == len(candidates)}


def weight_curves(study: Study) -> list[LayerCurve]:
    """Return the learned weights of heads that sum layers: mean, minimum and maximum over folds, seeds and draws."""
    found = []
    for model in study.learned:
        names = _summed_layers(study, model)
        learned = [weights for path in sorted(model.fit.folder.glob("*.safetensors")) for weights in _weights(path)]
        if len(names) > 1 and learned and all(len(weights) == len(names) for weights in learned):
            table = np.stack(learned).astype(np.float64)
            mean, low, high = (column.tolist() for column in (table.mean(0), table.min(0), table.max(0)))
            found.append(LayerCurve(model.title, str(model.row["model"]), names, mean, low, high, [], len(table)))
    return found


def _summed_layers(study: Study, model: StudyModel) -> list[int]:
    """Return the layers that a model's head sums; empty if it does not read several layers."""
    table = study.inputs.tables.get(str(model.row["model"]))
    head = study.head_of(model)
    if table is None or head is None or head.reads != "layers":
        return []
    return [table.spec.layers[at] for at in layer_positions(head, table.spec.layers)]


def _weights(path: Any) -> list[np.ndarray]:
    """Return `layer_weights` of a saved head in a list; empty if it has none or the file cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            return [file.get_tensor("layer_weights")] if "layer_weights" in file.keys() else []  # noqa: SIM118
    except (OSError, SafetensorError):
        return []
