"""Stage 2 of an experiment: every head on every backbone's cached embeddings, over the protocol's splits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from features.corpus import Corpus
from features.errors import ConfigError, UserError
from features.labels import Task
from features.manifest import Manifest
from features.store.table import EmbeddingTable
from features.system.number_types import has_float64
from heads.evaluation.prediction_table import to_table
from heads.kinds.registry import head_type
from heads.options import HeadOptions
from heads.splits.targets import targets_of
from heads.training.checkpoint import save_head
from heads.training.results import HeadResult
from heads.training.train import layer_positions
from pipeline.config.config import Config, label_of
from pipeline.console import Console
from pipeline.results.expected_fits import expected_fits, head_folder, poolings_of
from pipeline.results.run_folder import (
    Fit,
    file_name,
    finish_fit,
    fit_folder,
    is_done,
    read_fit,
    start_fit,
)
from pipeline.results.run_lock import locked
from pipeline.results.run_predictions import write_predictions
from pipeline.results.table import counted, layer_text
from pipeline.stages.context import Stage2, head_job, splits_of
from pipeline.stages.features import load_corpus, resolve_device, write_run_inputs
from pipeline.stages.fit_metadata import about_backbone, about_result, stage1_notes
from pipeline.stages.head_fits import fit_head, predictions_of
from pipeline.stages.inputs import features_of, read_inputs
from pipeline.stages.layer_predictions import layers_table, write_layers
from pipeline.stages.majority import majority_fit

MANY_GROUPS = 50  # from here on, five folds of groups are suggested instead of one fold per group


def run_heads(
    config: Config, *, device: str, dry_run: bool, strict: bool, console: Console, corpus: Corpus | None = None
) -> None:
    """Train every head on every backbone, except those already trained.

    Args:
        config: The experiment.
        device: `auto`, or a torch device.
        dry_run: Report what would be trained, without training.
        strict: Raise an error if official splits share groups or audio.
        console: Console for progress and summaries.
        corpus: From `load_corpus`; None: it is loaded here.

    Raises:
        AudioheadsError: Stage 1 is not finished, the data do not fit the protocol, or a head cannot be trained.
    """
    corpus = corpus or load_corpus(config, save=not dry_run)
    with locked([] if dry_run else [config.run_dir], console.note):
        _run(config, corpus, device, dry_run, strict, console)


def _run(config: Config, corpus: Corpus, device: str, dry_run: bool, strict: bool, console: Console) -> None:
    """Train the heads in a run folder that nothing else writes to at this time."""
    manifest = corpus.manifest
    check_heads(config, manifest.task)
    try:
        inputs = read_inputs(config, corpus)
    except UserError as error:
        if not dry_run:
            raise
        console.line(
            f"train-heads {manifest.name}: would train {len(expected_fits(config))} heads after stage 1 ({error})"
        )
        return
    splits = splits_of(config, manifest, inputs, strict)
    stage = Stage2(config, manifest, inputs, targets_of(manifest), splits, head_device(device, console), console)
    if not dry_run:
        write_run_inputs(config, manifest)
    for warning in splits.warnings:
        console.note(f"warning: {warning}")
    if splits.protocol == "leave-one-group-out" and splits.n_folds > MANY_GROUPS:
        console.note(
            f"leave-one-group-out trains every head {splits.n_folds} times per seed, once for each group; "
            "`protocol: kfold` keeps groups whole in five folds"
        )
    for label, table in inputs.tables.items():
        for head in config.heads:
            assert isinstance(head, HeadOptions)
            poolings = poolings_of(config, head)
            job = head_job(stage, table, head, poolings)
            folder = fit_folder(config.run_dir, label, head_folder(head))
            what = f"train-heads {manifest.name} {label} {head.title}"
            if is_done(folder, job):
                console.line(f"{what}: reused → {folder}")
            elif dry_run:
                console.line(f"{what}: would train → {folder}")
            else:
                result = _train(stage, label, table, head, poolings, job, folder)
                console.line(
                    f"{what}: {counted(splits.n_folds, 'fold')} × {counted(len(config.seeds), 'seed')}, "
                    f"layer {layer_text([fit.layer for fit in result.fits])}, {result.train_seconds:.1f} s → {folder}"
                )
    if config.label_efficiency is not None:
        from pipeline.stages.label_efficiency import train_curves

        train_curves(stage, dry_run=dry_run)
    if not dry_run:
        collect_predictions(config, manifest, majority_fit(config, manifest, splits))


def head_device(device: str, console: Console) -> str:
    """Resolve the device of heads: the CPU if the given one has no double precision, which is noted in one line.

    Raises:
        ConfigError: The device does not exist.
    """
    resolved = resolve_device(device)
    if has_float64(resolved):
        return resolved
    console.note(f"heads: trained on the CPU, because they need double precision, which {resolved} does not have")
    return "cpu"


def check_heads(config: Config, task: Task) -> None:
    """Check that all heads can be trained, before any training.

    Raises:
        UserError: The input of a head is not cached, or an estimator cannot be imported or built.
    """
    for number, head in enumerate(config.heads):
        assert isinstance(head, HeadOptions)
        poolings_of(config, head)
        check = head_type(head.name).check
        if check is not None:
            try:
                check(head, task)
            except ConfigError as error:
                raise ConfigError(f"heads[{number}].{error}") from error


def read_fits(config: Config) -> list[Fit]:
    """Read every fit of this config.

    Raises:
        UserError: A fit is not trained yet.
    """
    return [
        read_fit(fit_folder(config.run_dir, model, head), f"{model} {head}", config.command(command))
        for model, head, command in expected_fits(config)
    ]


def collect_predictions(config: Config, manifest: Manifest, baseline: Fit | None) -> None:
    """Write the run's table of predictions from all complete fits, then those of the baseline."""
    fits = []
    for model, head, _ in expected_fits(config):
        with suppress(UserError):
            fits.append(read_fit(fit_folder(config.run_dir, model, head), model, ""))
    write_predictions(config.run_dir, fits + ([baseline] if baseline else []), manifest.labels, manifest.task)


def _train(
    stage: Stage2,
    label: str,
    table: EmbeddingTable,
    head: HeadOptions,
    poolings: Sequence[str],
    job: str,
    folder: Path,
) -> HeadResult:
    """Train one head on one backbone and write its results."""
    features = features_of(table, poolings, stage.manifest, stage.inputs)
    result = fit_head(stage, label, table, head, features, stage.splits, keep_layers=True)
    options = next(item for item in stage.config.features.backbones if label_of(item) == label)
    notes = stage1_notes(table, options)
    if head.reads == "layers":
        notes["layers"] = [table.spec.layers[at] for at in layer_positions(head, table.spec.layers)]
    start_fit(folder)
    for fit in result.fits:
        draw = f"-draw-{fit.draw}" if fit.draw else ""
        save_head(
            folder / f"fold-{file_name(str(fit.fold))}-seed-{fit.seed}{draw}.safetensors",
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
    predictions = predictions_of(stage, label, head, poolings, result)
    finish_fit(folder, about, to_table(predictions, stage.manifest.labels))
    return result
