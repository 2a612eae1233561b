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
from features.planning.worklist import make_worklist
from features.spec import BackboneSpec
from features.system.locks import CacheLock
from heads.splits.feasibility import check_protocol, official_overlaps, resolve_protocol
from pipeline.config.config import Config, dump_config, label_of
from pipeline.console import Console, ProgressTask
from pipeline.results.features_index import features_entry, write_features_index
from pipeline.results.run_folder import write_json
from pipeline.stages.engines import chosen_engine

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
    """Embed every clip once with every backbone, where that is not done yet.

    Args:
        config: The experiment.
        device: `auto`, or a torch device.
        limit: Compute only what the manifest's first `limit` clips lack.
        dry_run: Say what would be computed.
        strict: Groups on both sides of an official split are an error, and so is a clip that cannot be used,
            raised once all others are done.
        rehash: Read every file to see whether it changed; counts only without `corpus`.
        console: Where progress and summaries go.
        engine: `local`, or `ray`: actors on a cluster compute.
        run_shard: Compute only this run_shard of the blocks; the run's folder is written by the last one.
        corpus: From `load_corpus`; None: loaded here.

    Raises:
        AudioheadsError: The dataset, a backbone's weights or the cache cannot be used.
    """
    if corpus is None:
        corpus = load_corpus(config, strict=strict, rehash=rehash, save=not dry_run)
    manifest, cache = corpus.manifest, config.output.cache
    settings = stage1_settings(config, device=device, limit=limit)
    failures: dict[str, str] = {}
    made: dict[str, tuple[dict[str, Any], Summary]] = {}
    with chosen_engine(engine, config.features.ray, settings) as (workers, settings):
        specs = describe_all(config.features.backbones, console)
        check_frame_layers(config, specs)
        if not dry_run and run_shard is None:
            write_run_inputs(config, manifest)
            write_json(failures_file(config), {})
        for options, spec in zip(config.features.backbones, specs, strict=True):
            label = label_of(options)
            with ExitStack() as stack:
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
                write_features_index(config.run_dir, label, made[label][0])
                write_json(failures_file(config), failures)
            console.line(summary_line(label, summary, dataset=manifest.name))
            if summary.computed:
                console.line(f"  {summary.timings}")
    if run_shard is not None:
        finish_shares(config, manifest, made, failures)
    for clip, reason in list(failures.items())[: None if strict else FAILURES_SHOWN]:
        console.note(f"  failed {clip}: {reason}")
    if len(failures) > FAILURES_SHOWN and not strict:
        console.note(f"  … and {len(failures) - FAILURES_SHOWN} more; all are in {failures_file(config)}")
    if strict and failures:
        raise RunError(f"{manifest.name}: {len(failures)} clip(s) cannot be used, and --strict makes that an error")


def load_corpus(config: Config, *, strict: bool = False, rehash: bool = False, save: bool = True) -> Corpus:
    """The experiment's clips, fit for its protocol; their files are read once, when a stage first asks for them.

    Args:
        config: The experiment.
        strict: Groups on both sides of an official split are an error.
        rehash: Read every file to see whether it changed.
        save: Write new digests to the cache folder.

    Raises:
        ManifestError: The clips cannot be listed, or do not fit the protocol.
    """
    manifest = load_checked_manifest(config, strict=strict)
    return Corpus(manifest, config.output.cache / manifest.name, rehash, save)


def load_checked_manifest(config: Config, *, strict: bool = False) -> Manifest:
    """The experiment's clips, fit for its protocol.

    Raises:
        ManifestError: They are not; under `strict` also where official folds or splits run_shard groups.
    """
    manifest = load_manifest(config.dataset.model_dump())
    check_protocol(manifest, config.protocol, shots=config.few_shot.shots)
    if strict and (overlaps := official_overlaps(manifest, resolve_protocol(manifest, config.protocol))):
        raise ManifestError(f"{overlaps[0]} (an error under --strict)")
    return manifest


def stage1_settings(config: Config, *, device: str = "cpu", limit: int | None = None) -> Settings:
    """How stage 1 runs by this config on this device, which is resolved; its precision may still be `auto`."""
    section = config.features
    device = resolve_device(device)
    return Settings(
        pooling=tuple(section.pooling),
        precision=section.precision,
        compile=section.compile,
        resample=section.resample,
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
    """A device that is there: `auto` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: The device asked for is not there.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return check_device(device)


def describe_all(options: Sequence[BaseModel], console: Console | None = None) -> list[BackboneSpec]:
    """Specs of all backbones, found before any work starts.

    Raises:
        AudioheadsError: One line per backbone whose weights cannot be had.
    """
    specs: list[BackboneSpec] = []
    problems: list[AudioheadsError] = []
    for item in options:
        try:
            specs.append(backbones.describe(item))  # type: ignore[arg-type]
        except AudioheadsError as error:
            problems.append(error)
    if problems:
        kind = WeightsError if all(isinstance(problem, WeightsError) for problem in problems) else UserError
        raise kind("\n".join(map(str, problems)))
    for spec in specs:
        if console and spec.settings.get("normalize_assumed"):
            console.note(
                f"{spec.name}: no preprocessor_config.json beside the weights, so inputs are normalised and taken "
                f"at {spec.sample_rate} Hz (set `normalize` to say otherwise)"
            )
    return specs


def check_frame_layers(config: Config, specs: Sequence[BackboneSpec]) -> None:
    """Refuse layers to keep frames of that a backbone does not have.

    Raises:
        ConfigError: There is one.
    """
    for options, spec in zip(config.features.backbones, specs, strict=True):
        for layer in config.features.frame_layers or ():
            if layer not in spec.layers:
                raise ConfigError(
                    f"features.frame_layers: {label_of(options)} has no layer {layer}, its last is {spec.layers[-1]}"
                )


def failures_file(config: Config) -> Path:
    """Where stage 1 leaves the reason of every clip that cannot be used."""
    return config.run_dir / "failures.json"


def write_run_inputs(config: Config, manifest: Manifest) -> None:
    """Write what this run is about: `config.yaml`, resolved, and `manifest.csv`."""
    config.run_dir.mkdir(parents=True, exist_ok=True)
    named = config.dataset.model_copy(update={"name": manifest.name})
    resolved = config.model_copy(update={"dataset": named})
    (config.run_dir / "config.yaml").write_text(dump_config(resolved), encoding="utf-8")
    manifest.write_csv(config.run_dir / "manifest.csv")


def finish_shares(
    config: Config,
    manifest: Manifest,
    made: Mapping[str, tuple[dict[str, Any], Summary]],
    failures: Mapping[str, str],
) -> None:
    """Leave in the run's folder what a run without shares leaves, for every backbone that is sealed; one at a time."""
    sealed = {label: entry for label, (entry, summary) in made.items() if not summary.waiting}
    if not sealed:
        return
    with CacheLock(config.run_dir / "features.json", lambda message: None):
        write_run_inputs(config, manifest)
        for label, entry in sealed.items():
            write_features_index(config.run_dir, label, entry)
        if len(sealed) == len(made):
            write_json(failures_file(config), dict(failures))


def summary_line(label: str, summary: Summary, dataset: str) -> str:
    """What one backbone's extraction did, in a line."""
    parts = [f"{summary.computed} computed", f"{summary.reused} reused", f"{len(summary.failures)} failed"]
    if summary.computed and summary.seconds:
        rate, realtime = summary.computed / summary.seconds, summary.audio_s / summary.seconds
        parts.append(f"{rate:.3g} clips/s, {realtime:.3g}× real time")
    if summary.waiting:
        others = ", ".join(map(str, summary.waiting))
        return f"features {dataset} {label}: {', '.join(parts)}; not sealed yet, still missing: --shard {others}"
    return f"features {dataset} {label}: {', '.join(parts)} → {summary.path}"


def announce(label: str, corpus: Corpus, spec: BackboneSpec, settings: Settings, cache: Path, console: Console) -> None:
    """Say what a run would compute."""
    work = make_worklist(corpus, spec, settings, cache)
    clips = [content for content in corpus.contents.take(work.todo) if not content.failure]
    failed = len(work.failed) + len(work.todo) - len(clips)
    seconds = sum(content.duration_s for content in clips)
    console.line(
        f"features {corpus.manifest.name} {label}: would compute {len(clips)} clips ({seconds:.0f} s of audio), "
        f"reuse {len(work.reused)}{f', {failed} failed' if failed else ''} → {work.path}"
    )


class StageBar:
    """Stage 1's progress as a bar; opened when there is something to compute."""

    def __init__(self, label: str, console: Console, stack: ExitStack) -> None:
        """Show `label`; the bar closes with `stack`."""
        self._label = label
        self._console = console
        self._stack = stack
        self._work: ProgressTask | None = None

    def start(self, clips: int, audio_s: float, reused: int) -> None:
        """Open the bar."""
        if clips:
            self._work = self._stack.enter_context(self._console.progress(f"features {self._label}", clips))

    def advance(self, clips: int, audio_s: float, failed: int) -> None:
        """Move it."""
        if self._work is not None:
            self._work.advance(clips, audio_s, failed)

    def note(self, message: str) -> None:
        """Print a line above it."""
        self._console.note(f"{self._label}: {message}")
