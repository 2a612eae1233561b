"""Train models end to end, with the folds, clips, metrics and result table of the frozen models."""

from __future__ import annotations

from collections.abc import Sequence

from features import backbones
from features.corpus import Corpus
from features.errors import UserError
from features.planning.run_shard import RunShard
from heads.finetuning.loggers import check_tracking
from heads.finetuning.options import Recipe
from heads.finetuning.processes import agreed, is_main_process
from pipeline.config.config import Config
from pipeline.config.finetune_entries import input_entry
from pipeline.console import Console
from pipeline.finetune.experiment import find_all_weights, models_of, open_tasks, recipes_of
from pipeline.finetune.model_fits import ModelFits
from pipeline.finetune.models import InitialWeights
from pipeline.fits.work import FitWork, check_engine
from pipeline.recordings.background import embedded_clips
from pipeline.results.run_folder import fit_folder
from pipeline.results.table import counted
from pipeline.stages.background.scoring import write_windows
from pipeline.stages.features import load_corpus
from pipeline.stages.features_output import announce
from pipeline.stages.finetune_inputs_cache import cache_inputs, cached_inputs, input_settings
from pipeline.stages.majority import majority_fit
from pipeline.stages.train_heads import collect_predictions


def run_finetune(
    config: Config,
    *,
    device: str,
    dry_run: bool,
    strict: bool,
    console: Console,
    corpus: Corpus | None = None,
    engine: str = "local",
    run_shard: RunShard | None = None,
) -> None:
    """Train every model of `finetune` on all folds and seeds; finished fits are skipped.

    Args:
        config: The experiment.
        device: `auto`, or a torch device.
        dry_run: Only print what would be trained.
        strict: Treat official splits that leak as an error.
        console: Output for progress and summaries.
        corpus: From `load_corpus`; None: it is loaded.
        engine: `local`, or `ray` for actors on a cluster.
        run_shard: Train only this shard of the fits; the last shard collects the predictions of all.

    Raises:
        AudioheadsError: Weights or a logger are unavailable, the dataset cannot be used, or a cache is damaged.
    """
    entries = recipes_of(config)
    if not entries:
        console.note("finetune: the config lists no models in its section `finetune`")
        return
    check_engine(engine)
    check_processes(entries, engine)
    check_tracking(config.tracking)
    corpus = corpus or load_corpus(config, save=not dry_run)
    manifest = corpus.manifest
    if manifest.task != "single-label":
        raise UserError(f"finetune: models are trained on one class per clip; {manifest.name} is {manifest.task}")
    sources = find_all_weights(entries)
    work = FitWork(config, manifest, "finetune", console, engine, run_shard)
    if dry_run:
        _announce_all(work, corpus, sources, device, strict)
        return
    if not is_main_process():
        console.out.quiet = console.err.quiet = True
    tables = cache_inputs(config, corpus, entries, device=device, console=console)
    models = models_of(config, corpus, sources, tables, device=device, strict=strict, console=console)
    stage = models[0].stage
    for warning in stage.splits.warnings:
        console.warning(warning)
    with work.run_folder():
        if _train_all(work, models) and is_main_process():
            with work.collecting():
                _settle(models, console)
                collect_predictions(config, manifest, majority_fit(config, manifest, stage.splits))


def check_processes(entries: Sequence[Recipe], engine: str) -> None:
    """Check that a fit needs only one process with `--engine ray`, whose actors are single processes.

    Raises:
        UserError: An entry trains on several devices.
    """
    for number, options in enumerate(entries):
        if engine == "ray" and options.devices != 1:
            raise UserError(
                f"finetune[{number}].devices: {options.devices}: --engine ray trains each fit in one process; use 1, "
                "or --engine local"
            )


def cache_model_inputs(config: Config, *, device: str, console: Console, corpus: Corpus | None = None) -> None:
    """Cache the inputs of the models of `finetune`, so that heads skip clips that these models cannot use.

    Raises:
        AudioheadsError: Weights are unavailable, the dataset cannot be used, or a cache is damaged.
    """
    entries = recipes_of(config)
    check_tracking(config.tracking)
    find_all_weights(entries)
    cache_inputs(config, corpus or load_corpus(config), entries, device=device, console=console)


def _announce_all(work: FitWork, corpus: Corpus, sources: Sequence[InitialWeights], device: str, strict: bool) -> None:
    """Print what a run would do."""
    config, console, entries = work.config, work.console, recipes_of(work.config)
    for options in entries:
        entry, settings = input_entry(options), input_settings(config, options, device)
        announce(
            str(entry["name"]),
            embedded_clips(corpus),
            backbones.describe(entry),
            settings,
            config.output.cache,
            console,
        )
    tables = cached_inputs(config, corpus.manifest)
    if work.run_shard is not None and len(tables) == len(entries):
        models = models_of(config, corpus, sources, tables, device=device, strict=strict, console=console)
        work.announce([task for model in models for task in model.tasks()])
        return
    for options in entries:
        folder = fit_folder(config.run_dir, options.title, options.head)
        console.line(f"{work.what} {options.title}: would train unfinished fits → {folder}")


def _train_all(work: FitWork, models: Sequence[ModelFits]) -> bool:
    """Train all models, and return whether every fit is complete."""
    if work.is_alone:
        for number, model in enumerate(models, 1):
            with work.console.within(f"model {number} of {len(models)}"):
                _train_model(model)
        return True
    tasks = [task for model in models for task in model.tasks()]
    if is_main_process():
        with work.collecting():
            for model in models:
                model.discard_outdated()
    if not work.train(tasks, models[0].stage.device, open_tasks):
        return False
    if is_main_process():
        with work.collecting():
            for model in models:
                if not model.is_done():
                    work.console.line(f"{model.what}: {counted(len(model.tasks()), 'fit')}, {model.collect()}")
    return True


def _settle(models: Sequence[ModelFits], console: Console) -> None:
    """Run all models on background, and fit their calibration and thresholds, once they are trained."""
    write_windows(models[0].stage)
    for model in models:
        model.score_background()
        for note in model.settle():
            console.note(f"{model.what}: {note}")


def _train_model(model: ModelFits) -> None:
    """Train one model on all folds and seeds in this process, with one line for all."""
    stage = model.stage
    if model.is_done():
        stage.console.line(f"{model.what}: reused → {model.folder}")
        return
    if is_main_process():
        model.discard_outdated()
    tasks, trained = model.tasks(), 0
    for task in tasks:
        if not agreed(task.is_done(), stage.device):
            task.train()
            trained += 1
    if is_main_process():
        reused = len(tasks) - trained
        stage.console.line(f"{model.what}: {trained} fits trained, {reused} reused, {model.collect()}")
