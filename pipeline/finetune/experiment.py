"""The models of `finetune` in an experiment: their weights and inputs, and the fits of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from features.corpus import Corpus
from features.errors import AudioheadsError, UserError, WeightsError
from features.store.table import EmbeddingTable
from heads.finetuning.options import Recipe
from heads.splits.targets import targets_of
from pipeline.config.config import Config
from pipeline.console import Console
from pipeline.finetune.inputs import shared_inputs
from pipeline.finetune.model_fits import ModelFits
from pipeline.finetune.models import InitialWeights, find_weights
from pipeline.fits.task import FitTask
from pipeline.results.decisions.settling import check_decisions
from pipeline.stages.context import Stage2, splits_of
from pipeline.stages.features import load_corpus, resolve_device
from pipeline.stages.finetune_inputs_cache import cache_inputs


def recipes_of(config: Config) -> list[Recipe]:
    """Return the entries of `finetune`."""
    return [options for options in config.finetune if isinstance(options, Recipe)]


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


def models_of(
    config: Config,
    corpus: Corpus,
    sources: Sequence[InitialWeights],
    tables: Sequence[EmbeddingTable],
    *,
    device: str,
    strict: bool,
    console: Console,
) -> list[ModelFits]:
    """Return the fits of all models.

    Args:
        config: The experiment, with at least one model.
        corpus: Its clips.
        sources: Initial weights, one per model.
        tables: Cached inputs, one per model.
        device: `auto`, or a torch device.
        strict: Treat official splits that leak as an error.
        console: Output for progress.

    Raises:
        AudioheadsError: The device does not exist, or the clips do not fit the protocol, `calibrate` or
            `operating_point`.
    """
    manifest, inputs = corpus.manifest, shared_inputs(config, corpus, tables)
    splits = splits_of(config, manifest, inputs, strict)
    if splits.protocol == "folds-no-valid":
        raise UserError("finetune: protocol 'folds-no-valid' has no validation clips for early stopping; use `folds`")
    check_decisions(config, manifest, splits)
    stage = Stage2(config, manifest, inputs, targets_of(manifest), splits, trainer_device(device, console), console)
    return [
        ModelFits(stage, options, source, table)
        for options, source, table in zip(recipes_of(config), sources, tables, strict=True)
    ]


def open_tasks(config: Config, device: str, console: Console) -> list[FitTask]:
    """Return the fits of all models of an experiment, in a process that trains some of them for another one."""
    corpus, entries = load_corpus(config, save=False), recipes_of(config)
    tables = cache_inputs(config, corpus, entries, device=device, console=console)
    models = models_of(config, corpus, find_all_weights(entries), tables, device=device, strict=False, console=console)
    return [task for model in models for task in model.tasks()]


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
