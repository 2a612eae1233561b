"""Stage 1 of an experiment: manifest and backbones from the config, one cache file per backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from features import backbones
from features.backbones.base import check_device
from features.corpus import Corpus
from features.datasets import load_manifest
from features.errors import AudioheadsError, ConfigError, ManifestError, RunError, UserError, WeightsError
from features.extract import Summary, extract
from features.manifest import Manifest
from features.planning.precision import settle
from features.planning.run_shard import RunShard
from features.planning.settings import Settings
from features.spec import BackboneSpec
from heads.splits.feasibility import official_overlaps, resolve_protocol
from pipeline.config.config import Config, label_of
from pipeline.console import Console
from pipeline.recordings.background import embedded_clips, with_background
from pipeline.results.features_index import features_entry, write_features_index
from pipeline.results.run_folder import write_json
from pipeline.results.run_inputs import write_run_inputs
from pipeline.results.run_lock import locked
from pipeline.stages.checks import check_labels
from pipeline.stages.engines import chosen_engine
from pipeline.stages.features_output import StageBar, announce, licence_note, rounding_text, summary_line

FAILURES_SHOWN = 5


def run_features(
    config: Config,
    *,
    device: str,
    limit: int | None,
    dry_run: bool,
    strict: bool,
    rehash: bool = False,
    console: Console,
    engine: str = "local",
    run_shard: RunShard | None = None,
    corpus: Corpus | None = None,
) -> None:
    """Embed every clip with every backbone, except clips that are already in the cache.

    Args:
        config: The experiment.
        device: `auto`, or a torch device.
        limit: Compute only missing embeddings of the manifest's first `limit` clips.
        dry_run: Report what would be computed, without computing it.
        strict: Raise an error if official splits share groups, and, after all other clips are done, if a clip
            cannot be used.
        rehash: Read every file to check whether it changed; has no effect if `corpus` is given.
        console: Console for progress and summaries.
        engine: `local`, or `ray` for actors on a cluster.
        run_shard: Compute only this shard of the blocks; the last shard writes the run folder.
        corpus: From `load_corpus`; None: it is loaded here.

    Raises:
        AudioheadsError: The dataset, a backbone's weights or the cache cannot be used.
    """
    if corpus is None:
        corpus = load_corpus(config, strict=strict, rehash=rehash, save=not dry_run)
    manifest, cache, corpus = corpus.manifest, config.output.cache, embedded_clips(corpus)
    settings = stage1_settings(config, device=device, limit=limit)
    failures: dict[str, str] = {}
    made: dict[str, tuple[dict[str, Any], Summary]] = {}
    with chosen_engine(engine, config.features.ray, settings) as (workers, settings):
        specs = describe_all(config.features.backbones, console)
        check_frame_layers(config, specs)
        if not dry_run and run_shard is None:
            write_run_inputs(config, manifest, console.note)
            write_json(failures_file(config), {})
        with console.progress(f"reading the files of {manifest.name}", None, ""):
            corpus.contents  # noqa: B018
        for number, (options, spec) in enumerate(zip(config.features.backbones, specs, strict=True), 1):
            label = label_of(options)
            with ExitStack() as stack:
                stack.enter_context(console.within(f"model {number} of {len(specs)}"))
                progress = StageBar(label, console, stack)
                load = partial(backbones.load, options.model_dump(exclude_unset=True), settings.device, spec=spec)
                load_as = None if dry_run else lambda precision, load=load: load(precision=precision)
                own = settle(corpus, spec, load_as, settings, cache, progress.note)
                if dry_run:
                    announce(label, corpus, spec, own, cache, console)
                    continue
                load = partial(load, precision=own.precision)
                summary = extract(corpus, spec, load, own, cache, progress, engine=workers, run_shard=run_shard)
            made[label] = (features_entry(config, options, summary.path), summary)
            failures |= summary.failures
            if run_shard is None:
                with locked([config.run_dir], console.note):
                    write_features_index(config.run_dir, label, made[label][0])
                    write_json(failures_file(config), failures)
            console.line(summary_line(label, summary, dataset=manifest.name))
            if summary.computed:
                console.line(f"  {summary.timings}")
            if summary.computed and summary.rounding_error is not None:
                console.line(f"  stored as {own.dtype}: {rounding_text(summary.rounding_error)}")
    if run_shard is not None:
        finish_shards(config, manifest, made, failures)
    for clip, reason in list(failures.items())[: None if strict else FAILURES_SHOWN]:
        console.note(f"  failed {clip}: {reason}")
    if len(failures) > FAILURES_SHOWN and not strict:
        console.note(f"  … and {len(failures) - FAILURES_SHOWN} more; all are in {failures_file(config)}")
    if strict and failures:
        raise RunError(f"{manifest.name}: {len(failures)} clip(s) cannot be used, and --strict makes that an error")


def load_corpus(config: Config, *, strict: bool = False, rehash: bool = False, save: bool = True) -> Corpus:
    """Load the experiment's clips and check them against the protocol. Audio files are read once, when first needed.

    Args:
        config: The experiment.
        strict: Raise an error if official splits share groups.
        rehash: Read every file to check whether it changed.
        save: Write new digests to the cache folder.

    Returns:
        The corpus, with the windows of `background` if there are some.

    Raises:
        ManifestError: The clips cannot be listed, or do not fit the protocol.
        ConfigError: The recordings of background do not fit the clips.
    """
    manifest = load_checked_manifest(config, strict=strict)
    return with_background(config, Corpus(manifest, config.output.cache / manifest.name, rehash, save))


def load_checked_manifest(config: Config, *, strict: bool = False) -> Manifest:
    """Load the experiment's manifest and check it against the protocol.

    Raises:
        ManifestError: The clips do not fit the protocol; under `strict` also if official folds or splits share
            groups.
    """
    manifest = load_manifest(config.dataset.model_dump())
    check_labels(config, manifest)
    if strict and (overlaps := official_overlaps(manifest, resolve_protocol(manifest, config.protocol))):
        raise ManifestError(f"{overlaps[0]} (an error under --strict)")
    return manifest


def stage1_settings(config: Config, *, device: str = "cpu", limit: int | None = None) -> Settings:
    """Return the settings of stage 1 with a resolved device; the precision may still be `auto`."""
    section = config.features
    device = resolve_device(device)
    return Settings(
        pooling=tuple(section.pooling),
        precision=section.precision,
        compile=section.compile,
        resample=section.resample,
        dtype=section.dtype,
        frame_layers=None if section.frame_layers is None else tuple(section.frame_layers),
        frame_dtype=section.frame_dtype,
        window_overlap_s=section.window_overlap_s,
        block_rows=section.block_rows,
        batch_s=section.batch_s,
        threads=section.threads,
        workers=section.workers,
        device=device,
        limit=limit,
    )


def resolve_device(device: str) -> str:
    """Resolve `auto` to CUDA if available, else to the CPU; check that any other device exists.

    Raises:
        ConfigError: The device does not exist.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return check_device(device)


def describe_all(options: Sequence[BaseModel], console: Console | None = None) -> list[BackboneSpec]:
    """Return the specs of all backbones, before any work starts.

    Raises:
        AudioheadsError: Weights are not available, or not those of the preset; one line per such backbone.
    """
    specs: list[BackboneSpec] = []
    problems: list[AudioheadsError] = []
    for item in options:
        try:
            specs.append(backbones.describe_new(item))  # type: ignore[arg-type]
        except AudioheadsError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        kind = WeightsError if all(isinstance(problem, WeightsError) for problem in problems) else UserError
        raise kind("\n".join(map(str, problems)))
    for spec in specs:
        if console and spec.settings.get("normalize_assumed"):
            console.note(
                f"{spec.title}: no preprocessor_config.json next to the weights, so inputs are normalised, at a sample "
                f"rate of {spec.sample_rate} Hz (set `normalize` to change this)"
            )
        if console and (note := licence_note(spec)):
            console.note(note)
    return specs


def check_frame_layers(config: Config, specs: Sequence[BackboneSpec]) -> None:
    """Check that every backbone has the layers of `features.frame_layers`.

    Raises:
        ConfigError: A backbone lacks a layer.
    """
    for options, spec in zip(config.features.backbones, specs, strict=True):
        for layer in config.features.frame_layers or ():
            if layer not in spec.layers:
                raise ConfigError(
                    f"features.frame_layers: {label_of(options)} has no layer {layer}, its last is {spec.layers[-1]}"
                )


def failures_file(config: Config) -> Path:
    """Return the path of the file in which stage 1 records why clips cannot be used."""
    return config.run_dir / "failures.json"


def finish_shards(
    config: Config,
    manifest: Manifest,
    made: Mapping[str, tuple[dict[str, Any], Summary]],
    failures: Mapping[str, str],
) -> None:
    """Write the run folder, as a run without shards does, for every backbone whose cache file is finalized."""
    finalized = {label: entry for label, (entry, summary) in made.items() if not summary.waiting}
    if not finalized:
        return
    with locked([config.run_dir], lambda message: None):
        write_run_inputs(config, manifest)
        for label, entry in finalized.items():
            write_features_index(config.run_dir, label, entry)
        if len(finalized) == len(made):
            write_json(failures_file(config), dict(failures))
