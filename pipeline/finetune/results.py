"""Results of a model trained end to end, for the report: its predictions and metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from features.store.table import EmbeddingTable
from heads.evaluation.absent import absent_classes, never
from heads.evaluation.predictions import Predictions
from heads.finetuning.options import Recipe
from heads.splits.protocol import Split
from pipeline.finetune.fits import Finished
from pipeline.finetune.models import InitialWeights
from pipeline.stages.background.joining import joined_ids, joined_targets
from pipeline.stages.context import Stage2
from pipeline.stages.fit_metadata import about_backbone

NONE = "none"
Fits = Sequence[tuple[Split, int, Finished]]


def place_of(options: Recipe, source: InitialWeights) -> tuple[str, str]:
    """Return the `pooling` and `layer` columns."""
    return ("mean", str(source.spec.layers[-1])) if source.spec else (NONE, NONE)


def predictions_of(
    stage: Stage2, options: Recipe, source: InitialWeights, fits: Fits, side: Literal["test", "valid"] = "test"
) -> list[Predictions]:
    """Return the predictions of every fit for its test or validation clips; of old fits, there are only the first."""
    pooling, layer = place_of(options, source)
    targets, task = joined_targets(stage.targets, stage.inputs), stage.targets.task
    n_classes = stage.targets.n_outputs
    ids = joined_ids(stage.manifest.clips["id"].to_numpy(dtype=object), stage.inputs)
    scored = [
        (split, seed, getattr(split, side), fit.probabilities if side == "test" else fit.valid_probabilities)
        for split, seed, fit in fits
    ]
    return [
        Predictions(
            probabilities=never(probabilities, absent_classes(targets[split.train], n_classes, task), task),
            targets=targets[rows],
            ids=ids[rows],
            fold=split.fold,
            seed=seed,
            model=options.title,
            head=options.head,
            pooling=pooling,
            layer=layer,
            run=stage.config.name,
            draw=split.draw,
        )
        for split, seed, rows, probabilities in scored
        if probabilities is not None
    ]


def about_model(
    stage: Stage2, options: Recipe, source: InitialWeights, table: EmbeddingTable, job: str, fits: Fits
) -> dict[str, Any]:
    """Return the content of a model's `fit.json`."""
    pooling, layer = place_of(options, source)
    first = fits[0][2]
    return {
        **about_backbone(table, 0),
        "job": job,
        "dataset": stage.manifest.name,
        "model": options.title,
        "family": source.family,
        "weights": source.text,
        "weights_sha256": source.sha256,
        "head": options.head,
        "pooling": pooling,
        "layer": layer,
        "protocol": stage.splits.protocol,
        "n_folds": stage.splits.n_folds,
        "n_absent": stage.splits.n_absent,
        "n_seeds": len(stage.config.seeds),
        "feature_dim": source.spec.dim if source.spec else table.spec.dim,
        "params_total": first.params_total,
        "params_trained": first.params_trained,
        "train_seconds": sum(fit.state.seconds for _, _, fit in fits),
        "train_device": stage.device,
        "recipe": options.job(),
        "chosen": [
            {
                "fold": split.fold,
                "seed": seed,
                "draw": split.draw,
                "epoch": fit.state.best_epoch + 1,
                "epochs": fit.state.epochs,
                "valid_loss": fit.state.best_loss,
            }
            for split, seed, fit in fits
        ],
        "warnings": list(stage.splits.warnings),
    }
