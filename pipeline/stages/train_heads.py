"""Stage 2 of an experiment: every head on every backbone's cached embeddings, over the protocol's splits."""

from __future__ import annotations

from contextlib import suppress

from features.corpus import Corpus
from features.errors import ConfigError, UserError
from features.labels import Task
from features.manifest import Manifest
from features.planning.run_shard import RunShard
from features.system.number_types import has_float64
from heads.kinds.registry import head_type
from heads.options import HeadOptions
from heads.splits.targets import targets_of
from pipeline.config.config import Config
from pipeline.console import Console
from pipeline.fits.task import FitTask
from pipeline.fits.work import FitWork, check_engine
from pipeline.results.decisions.settling import check_decisions, needs_background, settle
from pipeline.results.expected_fits import expected_fits, poolings_of
from pipeline.results.fit import Fit, read_fit
from pipeline.results.run_folder import fit_folder
from pipeline.results.run_predictions import write_predictions
from pipeline.stages.background.scoring import score_background, validation_background
from pipeline.stages.context import Stage2, splits_of
from pipeline.stages.features import load_corpus, resolve_device
from pipeline.stages.head_tasks import head_tasks
from pipeline.stages.inputs import Inputs, read_inputs
from pipeline.stages.label_efficiency import curve_tasks
from pipeline.stages.majority import majority_fit
from pipeline.stages.open_set.tasks import check_open_set, open_set_tasks

MANY_GROUPS = 50  # from here on, five folds of groups are suggested instead of one fold per group


def run_heads(
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
    """Train every head on every backbone, except those already trained.

    Args:
        config: The experiment.
        device: `auto`, or a torch device.
        dry_run: Report what would be trained, without training.
        strict: Raise an error if official splits share groups or audio.
        console: Console for progress and summaries.
        corpus: From `load_corpus`; None: it is loaded here.
        engine: `local`, or `ray` for actors on a cluster.
        run_shard: Train only this shard of the fits; the last shard collects the predictions of all.

    Raises:
        AudioheadsError: Stage 1 is not finished, the data do not fit the protocol, or a head cannot be trained.
    """
    check_engine(engine)
    corpus = corpus or load_corpus(config, save=not dry_run)
    check_heads(config, corpus.manifest.task)
    try:
        inputs = read_inputs(config, corpus)
    except UserError as error:
        if not dry_run:
            raise
        count = len(expected_fits(config))
        console.line(f"train-heads {corpus.manifest.name}: would train {count} heads after stage 1 ({error})")
        return
    stage = stage_of(config, corpus.manifest, inputs, device=device, strict=strict, console=console)
    for warning in stage.splits.warnings:
        console.warning(warning)
    if stage.splits.protocol == "leave-one-group-out" and stage.splits.n_folds > MANY_GROUPS:
        console.note(
            f"leave-one-group-out trains every head {stage.splits.n_folds} times per seed, once for each group; "
            "`protocol: kfold` keeps groups whole in five folds"
        )
    work = FitWork(config, corpus.manifest, "train-heads", console, engine, run_shard)
    tasks = tasks_of(stage)
    if dry_run:
        work.announce(tasks)
        return
    with work.run_folder():
        if work.train(tasks, stage.device, open_tasks):
            with work.collecting():
                score_background(stage)
                settle_heads(stage)
                collect_predictions(config, corpus.manifest, majority_fit(config, corpus.manifest, stage.splits))


def stage_of(
    config: Config, manifest: Manifest, inputs: Inputs, *, device: str, strict: bool, console: Console
) -> Stage2:
    """Return the data that all fits of heads share.

    Raises:
        AudioheadsError: The device does not exist, the clips do not fit the protocol, or `calibrate` and
            `operating_point` do not fit the clips, or no class can be left out for `open_set`.
    """
    splits = splits_of(config, manifest, inputs, strict)
    check_decisions(config, manifest, splits)
    stage = Stage2(config, manifest, inputs, targets_of(manifest), splits, head_device(device, console), console)
    check_open_set(stage)
    return stage


def tasks_of(stage: Stage2) -> list[FitTask]:
    """Return all fits of heads, then those of label-efficiency curves and those without a class."""
    return [*head_tasks(stage), *curve_tasks(stage), *open_set_tasks(stage)]


def open_tasks(config: Config, device: str, console: Console) -> list[FitTask]:
    """Return the fits of heads of an experiment, in a process that trains some of them for another one."""
    corpus = load_corpus(config, save=False)
    inputs = read_inputs(config, corpus)
    return tasks_of(stage_of(config, corpus.manifest, inputs, device=device, strict=False, console=console))


def settle_heads(stage: Stage2) -> None:
    """Fit the calibration and the thresholds of all heads, once they are trained.

    Raises:
        RunError: A file cannot be written.
    """
    for task in head_tasks(stage):
        silent = validation_background(stage, task.folder) if needs_background(stage.config) else None
        for note in settle(stage.config, stage.manifest, task.folder, silent):
            stage.console.note(f"{task.what}: {note}")


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
