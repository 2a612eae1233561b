"""The fits of `train-heads`, one for each backbone and head: all folds, seeds and grid points train as one job."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from features.store.table import EmbeddingTable
from heads.evaluation.prediction_table import to_table
from heads.options import HeadOptions
from heads.training.checkpoint import save_head
from heads.training.kept_blocks import KeptBlocks
from heads.training.train import layer_positions
from pipeline.config.config import label_of
from pipeline.config.schema import BACKGROUND
from pipeline.fits.task import FitTask
from pipeline.results.decisions.fit_decisions import write_validation
from pipeline.results.decisions.settling import can_settle, keeps_validation
from pipeline.results.expected_fits import head_folder, poolings_of
from pipeline.results.run_folder import finish_fit, fit_folder, is_done, start_fit, weights_file
from pipeline.results.table import counted, layer_text
from pipeline.stages.context import Stage2, head_job
from pipeline.stages.fit_metadata import about_backbone, about_result, stage1_notes
from pipeline.stages.head_fits import ReadFeatures, feature_reader, fit_head, predictions_of, validation_of
from pipeline.stages.layer_predictions import layers_table, write_layers

UNFINISHED = "unfinished"  # folder of the blocks of an interrupted fit, inside the folder of the fit


def head_tasks(stage: Stage2) -> list[FitTask]:
    """Return the fits of all heads, backbone by backbone."""
    read = feature_reader(stage)
    return [
        _task(stage, label, table, head, read)
        for label, table in stage.inputs.tables.items()
        for head in stage.config.heads
        if isinstance(head, HeadOptions)
    ]


def _task(stage: Stage2, label: str, table: EmbeddingTable, head: HeadOptions, read: ReadFeatures) -> FitTask:
    poolings = tuple(poolings_of(stage.config, head))
    job = head_job(stage, table, head, poolings)
    folder = fit_folder(stage.config.run_dir, label, head_folder(head))
    return FitTask(
        what=f"train-heads {stage.manifest.name} {label} {head_folder(head)}",
        folder=folder,
        job=job,
        is_done=lambda: is_done(folder, job) and can_settle(stage.config, folder),
        train=partial(_train, stage, label, table, head, poolings, job, folder, read),
    )


def _train(
    stage: Stage2,
    label: str,
    table: EmbeddingTable,
    head: HeadOptions,
    poolings: tuple[str, ...],
    job: str,
    folder: Path,
    read: ReadFeatures,
) -> str:
    """Train one head on one backbone, write its results, and summarise them."""
    features = read(label, poolings)
    keep_valid = keeps_validation(stage.config, stage.splits, stage.targets)
    kept = KeptBlocks(folder / UNFINISHED, job)
    result = fit_head(
        stage, label, table, head, features, stage.splits, keep_layers=True, keep_valid=keep_valid, kept=kept
    )
    options = next(item for item in stage.config.features.backbones if label_of(item) == label)
    notes = stage1_notes(table, options)
    if head.reads in ("layers", "layer-frames"):
        stored = table.cache_spec["frames"]["layers"] if head.reads_frames else table.spec.layers
        notes["layers"] = [stored[at] for at in layer_positions(head, stored)]
    start_fit(folder)
    for fit in result.fits:
        save_head(
            weights_file(folder, fit.fold, fit.seed, fit.draw),
            fit.state,
            head=head.name,
            labels=stage.manifest.labels,
            backbone=table.cache_spec["backbone"],
            pooling=list(poolings),
            layer=fit.layer,
            configuration=fit.configuration,
            task=stage.targets.task,
            extra={
                "fold": fit.fold,
                "seed": fit.seed,
                "draw": fit.draw,
                "dataset": stage.manifest.name,
                "fingerprint": table.fingerprint,
                "stage1": notes,
                **({"background": BACKGROUND} if BACKGROUND in stage.manifest.added_labels else {}),
            },
        )
    about = {
        "job": job,
        "model": label,
        "head": head.title,
        "pooling": "+".join(poolings),
        "feature_dim": features.shape[2],
        **about_backbone(table, result.params_trained),
        **about_result(stage, result),
    }
    if result.layers:
        ids = stage.manifest.clips["id"].to_numpy(dtype=object)
        write_layers(folder, layers_table(result.layers, ids, stage.targets))
    if validation := validation_of(stage, label, head, poolings, result):
        write_validation(folder, validation, stage.manifest.labels)
    predictions = predictions_of(stage, label, head, poolings, result)
    finish_fit(folder, about, to_table(predictions, stage.manifest.labels))
    return (
        f"{counted(stage.splits.n_folds, 'fold')} × {counted(len(stage.config.seeds), 'seed')}, "
        f"layer {layer_text([fit.layer for fit in result.fits])}, {result.train_seconds:.1f} s"
    )
