"""Cached log-mels and waveforms: the inputs of models trained end to end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from features import backbones
from features.corpus import Corpus
from features.extract import extract
from features.manifest import Manifest
from features.planning.settings import Settings
from features.store import fingerprint as fp
from features.store.table import EmbeddingTable, open_table
from features.store.verify import verify_table
from heads.finetuning.options import Recipe
from pipeline.config.config import Config
from pipeline.config.finetune_entries import input_entry
from pipeline.console import Console
from pipeline.stages.features import stage1_settings
from pipeline.stages.features_output import StageBar, summary_line


def cache_inputs(
    config: Config, corpus: Corpus, entries: Sequence[Recipe], *, device: str, console: Console
) -> list[EmbeddingTable]:
    """Update and open the cache file of each model's inputs; models with the same inputs share a file.

    Returns:
        One table per entry, in order.

    Raises:
        CacheError: A file is damaged.
        RunError: More than half of the clips fail.
    """
    settings = input_settings(config, device)
    made: dict[Path, EmbeddingTable] = {}
    tables = []
    for options in entries:
        entry = input_entry(options)
        spec = backbones.describe(entry)
        with ExitStack() as stack:
            bar = StageBar(str(entry["name"]), console, stack)
            load = partial(backbones.load, entry, settings.device, settings.precision, spec)
            summary = extract(corpus, spec, load, settings, config.output.cache, bar)
        if summary.path not in made:
            console.line(summary_line(str(entry["name"]), summary, dataset=corpus.manifest.name))
            made[summary.path] = verify_table(summary.path)
        tables.append(made[summary.path])
    return tables


def input_settings(config: Config, device: str) -> Settings:
    """Return stage 1's settings for model inputs: all frames in full precision, regardless of the feature settings."""
    settings = stage1_settings(config, device=device)
    return replace(settings, pooling=("frames",), precision="fp32", frame_layers=None, frame_dtype="float32")


def cached_inputs(config: Config, manifest: Manifest) -> list[EmbeddingTable]:
    """Open the existing cache files of inputs for the models of `finetune`.

    Raises:
        CacheError: A file is damaged.
    """
    settings = input_settings(config, "cpu")
    tables = []
    for options in config.finetune:
        if isinstance(options, Recipe):
            spec = backbones.describe(input_entry(options))
            path = fp.cache_path(config.output.cache, manifest.name, settings.cache_spec(spec), spec.title)
            if path.exists():
                tables.append(open_table(path))
    return tables
