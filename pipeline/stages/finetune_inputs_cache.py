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
from heads.models.options import SpectrogramOptions
from pipeline.config.config import Config
from pipeline.config.finetune_entries import input_entry
from pipeline.console import Console
from pipeline.recordings.background import embedded_clips
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
    made: dict[Path, EmbeddingTable] = {}
    tables = []
    for options in entries:
        entry, settings = input_entry(options), input_settings(config, options, device)
        spec = backbones.describe(entry)
        with ExitStack() as stack:
            bar = StageBar(str(entry["name"]), console, stack)
            load = partial(backbones.load, entry, settings.device, settings.precision, spec)
            summary = extract(embedded_clips(corpus), spec, load, settings, config.output.cache, bar)
        if summary.path not in made:
            console.line(summary_line(str(entry["name"]), summary, dataset=corpus.manifest.name))
            made[summary.path] = verify_table(summary.path)
        tables.append(made[summary.path])
    return tables


def input_settings(config: Config, options: Recipe, device: str) -> Settings:
    """Return stage 1's settings for a model's inputs: all frames, regardless of the feature settings.

    Log-mels are stored as float16 by default, see `SpectrogramOptions`. Waveforms are float32: most are 16-bit audio,
    which float16 would round to 11 bits.
    """
    stored = options.stored_dtype if isinstance(options, SpectrogramOptions) else "float32"
    settings = stage1_settings(config, device=device)
    return replace(settings, pooling=("frames",), precision="fp32", frame_layers=None, frame_dtype=stored)


def cached_inputs(config: Config, manifest: Manifest) -> list[EmbeddingTable]:
    """Open the existing cache files of inputs for the models of `finetune`.

    Raises:
        CacheError: A file is damaged.
    """
    tables = []
    for options in config.finetune:
        if isinstance(options, Recipe):
            spec, settings = backbones.describe(input_entry(options)), input_settings(config, options, "cpu")
            path = fp.cache_path(config.output.cache, manifest.name, settings.cache_spec(spec), spec.title)
            if path.exists():
                tables.append(open_table(path))
    return tables
