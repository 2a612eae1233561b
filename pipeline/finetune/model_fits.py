"""The fits of one model that is trained end to end, one for each fold and seed, and what is made from all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger

from features import backbones
from features.errors import WeightsError
from features.store.frames import ClipFrames
from features.store.table import EmbeddingTable
from heads.evaluation.absent import absent_classes, never
from heads.evaluation.prediction_table import to_table
from heads.finetuning.checkpoint import TrainingState
from heads.finetuning.finetune import finetune
from heads.finetuning.loggers import open_loggers
from heads.finetuning.network import StandardisedNetwork
from heads.finetuning.options import Recipe
from heads.splits.split import Split
from pipeline.config.finetune_entries import input_entry
from pipeline.config.schema import BACKGROUND
from pipeline.finetune.file_format import METADATA
from pipeline.finetune.fits import FitFolder, remove_others
from pipeline.finetune.inputs import fit_clips, fit_rows, fit_statistics, open_frames
from pipeline.finetune.models import InitialWeights, builder
from pipeline.finetune.results import about_model, predictions_of
from pipeline.finetune.trained_network import load_network, probabilities_of, window_length
from pipeline.fits.task import FitTask
from pipeline.results.decisions.background_scores import is_scored, write_scores
from pipeline.results.decisions.fit_decisions import FitKey, write_validation
from pipeline.results.decisions.settling import (
    can_settle,
    fits_something,
    keeps_validation,
    needs_background,
    settle,
)
from pipeline.results.prediction_files import sources_digest
from pipeline.results.run_folder import FIT_FILE, finish_fit, fit_folder, is_done, job_digest
from pipeline.results.table import counted
from pipeline.stages.background.joining import joined_splits, joined_targets
from pipeline.stages.background.scoring import validation_background
from pipeline.stages.context import Stage2, job_of
from pipeline.stages.fit_metadata import stage1_notes
from pipeline.stages.inputs import window_identities

VERSION = 1  # increased when a change in `heads` changes results


@dataclass(frozen=True)
class ModelFits:
    """All fits of one entry of `finetune`.

    Attributes:
        stage: The run.
        options: Options from the config.
        source: Initial weights.
        table: Cached inputs.
    """

    stage: Stage2
    options: Recipe
    source: InitialWeights
    table: EmbeddingTable

    @property
    def what(self) -> str:
        """The model in messages."""
        return f"finetune {self.stage.manifest.name} {self.options.title}"

    @property
    def folder(self) -> Path:
        """The folder of its results."""
        return fit_folder(self.stage.config.run_dir, self.options.title, self.options.head)

    @cached_property
    def job(self) -> str:
        """Digest of everything that determines the results of all fits."""
        return job_of(self.stage, self._recipe, [])

    def is_done(self) -> bool:
        """Return whether the results of all fits are collected, with what decisions are fitted on."""
        return is_done(self.folder, self.job) and can_settle(self.stage.config, self.folder)

    def discard_outdated(self) -> None:
        """Remove the mark of a complete model if it is of another job; `collect` writes it again."""
        if not self.is_done():
            (self.folder / FIT_FILE).unlink(missing_ok=True)

    def tasks(self) -> list[FitTask]:
        """Return the fits, fold by fold."""
        return [
            FitTask(
                what=f"{self.what} {fit.name}",
                folder=fit.weights,
                job=fit.job,
                is_done=fit.is_done,
                train=partial(self._train, split, seed, fit),
            )
            for split, seed, fit in self._fits
        ]

    def collect(self) -> str:
        """Write `fit.json` and the predictions of all fits, which are complete, and summarise them."""
        finished = [(split, seed, done) for split, seed, fit in self._fits if (done := fit.read()) is not None]
        about = about_model(self.stage, self.options, self.source, self.table, self.job, finished)
        predictions = predictions_of(self.stage, self.options, self.source, finished)
        if keeps_validation(self.stage.config, self.stage.splits, self.stage.targets):
            validation = predictions_of(self.stage, self.options, self.source, finished, "valid")
            if len(validation) == len(finished):
                write_validation(self.folder, validation, self.stage.manifest.labels)
        finish_fit(self.folder, about, to_table(predictions, self.stage.manifest.labels))
        remove_others(self.folder, [fit for _, _, fit in self._fits])
        return f"{about['train_seconds']:.1f} s of training → {self.folder}"

    def settle(self) -> list[str]:
        """Fit the calibration and the thresholds of all fits, and return notes, see `settling.settle`.

        Raises:
            RunError: A file cannot be written.
        """
        config = self.stage.config
        silent = validation_background(self.stage, self.folder) if needs_background(config) else None
        return settle(config, self.stage.manifest, self.folder, silent, METADATA)

    def score_background(self) -> None:
        """Write `background.parquet`, the probabilities of all fits for windows of background, if there is none yet.

        Raises:
            CacheError: Inputs are damaged.
            RunError: The file cannot be written.
        """
        stage = self.stage
        if stage.inputs.background is None:
            return
        ids, keys = window_identities(stage.inputs, stage.inputs.silent)
        digest = sources_digest([self.job, self.table.fingerprint, ids, keys])
        if is_scored(self.folder, digest):
            return
        frames = ClipFrames(self.table, ids, keys)
        values, n_classes = joined_targets(stage.targets, stage.inputs), stage.targets.n_outputs
        scores: dict[FitKey, np.ndarray] = {}
        with stage.console.progress(f"background {self.options.title}", None, ""):
            for split, seed, fit in self._fits:
                try:
                    length = window_length(fit.metadata(), fit.weights)
                    network = load_network(fit.weights, self.options, self.source, n_classes, stage.device)
                except WeightsError as error:
                    stage.console.note(f"{self.what}: false alarms are not counted: {error}")
                    return
                given = probabilities_of(network, self.options, self.source, frames, length, stage.device)
                absent = absent_classes(values[split.train], n_classes, stage.targets.task)
                scores[str(split.fold), seed, split.draw] = never(given, absent, stage.targets.task)
        write_scores(self.folder, digest, ids, scores)

    @cached_property
    def _recipe(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "recipe": self.options.job(),
            "weights": self.source.sha256,
            "input": self.table.fingerprint,
        }

    @cached_property
    def _fits(self) -> list[tuple[Split, int, FitFolder]]:
        stage, needed = self.stage, fits_something(self.stage.config)
        return [
            (split, seed, FitFolder(self.folder, split, seed, self._fit_job(split, seed), needs_valid=needed))
            for split in joined_splits(stage.splits, len(stage.manifest), stage.inputs).splits
            for seed in stage.config.seeds
        ]

    @cached_property
    def _identities(self) -> list[list[str]]:
        """Id, label and content key of each clip, then of each window of background in training."""
        stage, inputs = self.stage, self.stage.inputs
        clips = stage.manifest.clips
        columns = clips["id"].tolist(), clips["label"].tolist(), inputs.contents.texts("key").to_pylist()
        found = [list(one) for one in zip(*columns, strict=True)]
        if len(inputs.added):
            found += [
                [name, BACKGROUND, key] for name, key in zip(*window_identities(inputs, inputs.added), strict=True)
            ]
        return found

    def _fit_job(self, split: Split, seed: int) -> str:
        """Return the digest of everything that affects the fit of one fold and seed."""
        rows = [split.train, split.valid, split.test]
        sides = [[self._identities[row] for row in side] for side in rows]
        return job_digest({**self._recipe, "sides": sides, "labels": self.stage.manifest.labels, "seed": seed})

    def _train(self, split: Split, seed: int, fit: FitFolder) -> str:
        """Train one fold and seed, write its results, and summarise them."""
        stage, options, config = self.stage, self.options, self.stage.config
        labels = stage.manifest.labels
        about = {"model": options.title, "fold": str(split.fold), "seed": seed, **options.job()}
        name = f"{options.title}/{fit.name}"
        with open_frames(stage, self.table) as frames:
            rows = fit_rows(stage, split)
            statistics = fit_statistics(options, frames, rows)
            rate, backbone = self.table.spec.frame_rate, self.source.spec
            clips = fit_clips(stage, options, backbone, rate, frames, rows, statistics)
            make = builder(options, self.source, frames.dim, len(labels), stage.device)

            def build() -> StandardisedNetwork:
                return StandardisedNetwork(make(), *statistics)

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
        notes = {
            "draw": split.draw,
            "labels": labels,
            "input": input_entry(options),
            "window_frames": clips.windows.length,
            "dataset": stage.manifest.name,
            **({"background": BACKGROUND} if BACKGROUND in stage.manifest.added_labels else {}),
            "stage1": stage1_notes(self.table, backbones.parse_options(input_entry(options))),
        }
        state = fit.write(fitted, {METADATA: json.dumps({**about, **notes})}).state
        return f"{counted(state.epochs, 'epoch')}, {state.seconds:.1f} s"
