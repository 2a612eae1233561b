"""Train models end to end, with the folds, clips, metrics and result table of the frozen models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning.pytorch.loggers import Logger

from features import backbones
from features.corpus import Corpus
from features.errors import AudioheadsError, UserError, WeightsError
from features.store.frames import ClipFrames
from features.store.table import EmbeddingTable
from heads.evaluation.prediction_table import to_table
from heads.finetuning.checkpoint import TrainingState
from heads.finetuning.finetune import finetune
from heads.finetuning.loggers import check_tracking, open_loggers
from heads.finetuning.network import StandardisedNetwork
from heads.finetuning.options import Recipe
from heads.finetuning.processes import agreed, is_main_process
from heads.splits.protocol import Split
from heads.splits.targets import targets_of
from pipeline.config.config import Config
from pipeline.config.finetune_entries import input_entry
from pipeline.console import Console
from pipeline.finetune.file_format import METADATA
from pipeline.finetune.fits import Finished, FitFolder, remove_others
from pipeline.finetune.inputs import fit_clips, fit_rows, fit_statistics, open_frames, shared_inputs
from pipeline.finetune.models import InitialWeights, builder, find_weights
from pipeline.finetune.results import about_model, predictions_of
from pipeline.results.run_folder import FIT_FILE, finish_fit, fit_folder, is_done, job_digest
from pipeline.results.run_lock import locked
from pipeline.stages.context import Stage2, job_of, splits_of
from pipeline.stages.features import load_corpus, resolve_device, write_run_inputs
from pipeline.stages.features_output import announce
from pipeline.stages.finetune_inputs_cache import cache_inputs, input_settings
from pipeline.stages.fit_metadata import stage1_notes
from pipeline.stages.majority import majority_fit
from pipeline.stages.train_heads import collect_predictions

VERSION = 1  # increased when a change in `heads` changes results


@dataclass(frozen=True)
class ModelToTrain:
    """One entry of `finetune`, ready to train.

    Attributes:
        options: Options from the config.
        source: Initial weights.
        table: Cached inputs.
    """

    options: Recipe
    source: InitialWeights
    table: EmbeddingTable


def run_finetune(
    config: Config, *, device: str, dry_run: bool, strict: bool, console: Console, corpus: Corpus | None = None
) -> None:
    """Train every model of `finetune` on all folds and seeds; finished fits are skipped.

    Args:
        config: The experiment.
        device: `auto`, or a torch device.
        dry_run: Only print what would be trained.
        strict: Treat official splits that leak as an error.
        console: Output for progress and summaries.
        corpus: From `load_corpus`; None: it is loaded.

    Raises:
        AudioheadsError: Weights or a logger are unavailable, the dataset cannot be used, or a cache is damaged.
    """
    entries = [options for options in config.finetune if isinstance(options, Recipe)]
    if not entries:
        console.note("finetune: the config lists no models in its section `finetune`")
        return
    check_tracking(config.tracking)
    corpus = corpus or load_corpus(config, save=not dry_run)
    manifest = corpus.manifest
    if manifest.task != "single-label":
        raise UserError(f"finetune: models are trained on one class per clip; {manifest.name} is {manifest.task}")
    sources = find_all_weights(entries)
    if dry_run:
        _announce_all(config, corpus, entries, device, console)
        return
    with locked([config.run_dir], console.note):
        _run(config, corpus, entries, sources, device, strict, console)


def _run(
    config: Config,
    corpus: Corpus,
    entries: Sequence[Recipe],
    sources: Sequence[InitialWeights],
    device: str,
    strict: bool,
    console: Console,
) -> None:
    """Train the models in a run folder that nothing else writes to at this time."""
    manifest = corpus.manifest
    if is_main_process():
        write_run_inputs(config, manifest)
    else:
        console.out.quiet = console.err.quiet = True
    tables = cache_inputs(config, corpus, entries, device=device, console=console)
    inputs = shared_inputs(config, corpus, tables)
    splits = splits_of(config, manifest, inputs, strict)
    if splits.protocol == "folds-no-valid":
        raise UserError("finetune: protocol 'folds-no-valid' has no validation clips for early stopping; use `folds`")
    stage = Stage2(config, manifest, inputs, targets_of(manifest), splits, trainer_device(device, console), console)
    for warning in stage.splits.warnings:
        console.note(f"warning: {warning}")
    for options, source, table in zip(entries, sources, tables, strict=True):
        _train_all(stage, ModelToTrain(options, source, table))
    if is_main_process():
        collect_predictions(config, manifest, majority_fit(config, manifest, splits))


def trainer_device(device: str, console: Console) -> str:
    """Resolve the device of training: the CPU if Lightning does not support the given one, noted in one line.

    Raises:
        ConfigError: The device does not exist.
    """
    resolved = resolve_device(device)
    if not resolved.startswith("xpu"):
        return resolved
    console.note(f"finetune: models are trained on the CPU, because Lightning does not support {resolved}")
    return "cpu"


def cache_model_inputs(config: Config, *, device: str, console: Console, corpus: Corpus | None = None) -> None:
    """Cache the inputs of the models of `finetune`, so that heads skip clips that these models cannot use.

    Raises:
        AudioheadsError: Weights are unavailable, the dataset cannot be used, or a cache is damaged.
    """
    entries = [options for options in config.finetune if isinstance(options, Recipe)]
    check_tracking(config.tracking)
    find_all_weights(entries)
    cache_inputs(config, corpus or load_corpus(config), entries, device=device, console=console)


def find_all_weights(entries: Sequence[Recipe]) -> list[InitialWeights]:
    """Find the initial weights of all models before any work starts.

    Raises:
        AudioheadsError: Weights are unavailable; one line per model.
    """
    sources, problems = [], []
    for options in entries:
        try:
            sources.append(find_weights(options))
        except AudioheadsError as error:
            problems.append(error)
    if problems:
        kind = WeightsError if all(isinstance(problem, WeightsError) for problem in problems) else UserError
        raise kind("\n".join(map(str, problems)))
    return sources


def _announce_all(config: Config, corpus: Corpus, entries: Sequence[Recipe], device: str, console: Console) -> None:
    """Print what a run would do."""
    settings = input_settings(config, device)
    for options in entries:
        entry = input_entry(options)
        announce(str(entry["name"]), corpus, backbones.describe(entry), settings, config.output.cache, console)
        folder = fit_folder(config.run_dir, options.title, options.head)
        console.line(f"finetune {corpus.manifest.name} {options.title}: would train unfinished fits → {folder}")


def _train_all(stage: Stage2, model: ModelToTrain) -> None:
    """Train one model on all folds and seeds."""
    options, manifest = model.options, stage.manifest
    folder = fit_folder(stage.config.run_dir, options.title, options.head)
    what = f"finetune {manifest.name} {options.title}"
    recipe = {
        "version": VERSION,
        "recipe": options.job(),
        "weights": model.source.sha256,
        "input": model.table.fingerprint,
    }
    job = job_of(stage, recipe, [])
    if is_done(folder, job):
        stage.console.line(f"{what}: reused → {folder}")
        return
    if is_main_process():
        (folder / FIT_FILE).unlink(missing_ok=True)  # written again when all fits are finished
    fits = [
        (split, seed, FitFolder(folder, split, seed, _fit_job(stage, recipe, split, seed)))
        for split in stage.splits.splits
        for seed in stage.config.seeds
    ]
    finished, reused = [], 0
    with open_frames(stage, model.table) as frames:
        for split, seed, fit in fits:
            done = fit.read()
            if agreed(done is not None, stage.device):
                reused += 1
            else:
                done = _train(stage, model, frames, split, seed, fit)
            if done is not None:  # other processes than the first may not see it yet, and do not need it
                finished.append((split, seed, done))
    if not is_main_process():
        return
    about = about_model(stage, options, model.source, model.table, job, finished)
    finish_fit(folder, about, to_table(predictions_of(stage, options, model.source, finished), manifest.labels))
    remove_others(folder, [fit for _, _, fit in fits])
    trained = len(fits) - reused
    stage.console.line(
        f"{what}: {trained} fits trained, {reused} reused, {about['train_seconds']:.1f} s of training → {folder}"
    )


def _fit_job(stage: Stage2, recipe: dict[str, Any], split: Split, seed: int) -> str:
    """Return the digest of everything that affects the fit of one fold and seed."""
    rows = [split.train, split.valid, split.test]
    clips = stage.manifest.clips
    ids, labels = clips["id"].to_numpy(dtype=object), clips["label"].to_numpy(dtype=object)
    sides = [[[ids[row], labels[row], stage.inputs.contents[row].key] for row in side] for side in rows]
    return job_digest({**recipe, "sides": sides, "labels": stage.manifest.labels, "seed": seed})


def _train(stage: Stage2, model: ModelToTrain, frames: ClipFrames, split: Split, seed: int, fit: FitFolder) -> Finished:
    """Train one fold and seed."""
    options, config = model.options, stage.config
    labels = stage.manifest.labels
    rows = fit_rows(stage, split)
    statistics = fit_statistics(options, frames, rows)
    rate, backbone = model.table.spec.frame_rate, model.source.spec
    clips = fit_clips(stage, options, backbone, rate, frames, rows, statistics)
    make = builder(options, model.source, frames.dim, len(labels), stage.device)

    def build() -> StandardisedNetwork:
        return StandardisedNetwork(make(), *statistics)

    about = {"model": options.title, "fold": str(split.fold), "seed": seed, **options.job()}
    notes = {
        "draw": split.draw,
        "labels": labels,
        "input": input_entry(options),
        "window_frames": clips.windows.length,
        "dataset": stage.manifest.name,
        "stage1": stage1_notes(model.table, backbones.parse_options(input_entry(options))),
    }
    name = f"{options.title}/{fit.name}"
    per_epoch = len(rows.train)
    description = f"finetune {options.title} fold {split.fold} seed {seed}"
    with stage.console.progress(description, options.epochs * per_epoch) as work:

        def on_epoch(state: TrainingState) -> None:
            work.advance(state.epochs * per_epoch - work.done)

        def loggers(state: TrainingState) -> list[Logger]:
            on_epoch(state)
            return open_loggers(config.tracking, config.run_dir / "tracking", config.name, name, about)

        fitted = finetune(
            build,
            clips,
            rows,
            options,
            seed,
            fit.working(),
            device=stage.device,
            loggers=loggers,
            on_step=work.advance,
            on_epoch=on_epoch,
        )
    return fit.write(fitted, {METADATA: json.dumps({**about, **notes})})
