"""The fits of one model that is trained end to end, one for each fold and seed, and what is made from all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from features import backbones
from features.store.table import EmbeddingTable
from heads.evaluation.prediction_table import to_table
from heads.finetuning.checkpoint import TrainingState
from heads.finetuning.finetune import finetune
from heads.finetuning.loggers import open_loggers
from heads.finetuning.network import StandardisedNetwork
from heads.finetuning.options import Recipe
from heads.splits.split import Split
from pipeline.config.config import Config
from pipeline.config.finetune_entries import input_entry
from pipeline.finetune.file_format import METADATA
from pipeline.finetune.fits import FitFolder, remove_others
from pipeline.finetune.inputs import fit_clips, fit_rows, fit_statistics, open_frames
from pipeline.finetune.models import InitialWeights, builder
from pipeline.finetune.results import about_model, predictions_of
from pipeline.fits.task import FitTask
from pipeline.results.decisions.fit_decisions import write_validation
from pipeline.results.decisions.settling import (
    can_settle,
    fits_something,
    keeps_validation,
    needs_background,
    settle,
)
from pipeline.results.run_folder import FIT_FILE, finish_fit, fit_folder, is_done, job_digest
from pipeline.results.table import counted
from pipeline.stages.context import Stage2, job_of
from pipeline.stages.fit_metadata import stage1_notes

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
        return is_done(self.folder, self.job) and can_settle(self._decided, self.folder)

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
        if keeps_validation(self._decided, self.stage.splits, self.stage.targets):
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
        return settle(self._decided, self.stage.manifest, self.folder, metadata=METADATA)

    @property
    def _decided(self) -> Config:
        """The config without thresholds that need background, on which these models are not run."""
        config = self.stage.config
        return config.model_copy(update={"operating_point": None}) if needs_background(config) else config

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
        needed = fits_something(self._decided)
        return [
            (split, seed, FitFolder(self.folder, split, seed, self._fit_job(split, seed), needs_valid=needed))
            for split in self.stage.splits.splits
            for seed in self.stage.config.seeds
        ]

    def _fit_job(self, split: Split, seed: int) -> str:
        """Return the digest of everything that affects the fit of one fold and seed."""
        rows = [split.train, split.valid, split.test]
        clips = self.stage.manifest.clips
        ids, labels = clips["id"].to_numpy(dtype=object), clips["label"].to_numpy(dtype=object)
        sides = [[[ids[row], labels[row], self.stage.inputs.contents[row].key] for row in side] for side in rows]
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
            "stage1": stage1_notes(self.table, backbones.parse_options(input_entry(options))),
        }
        state = fit.write(fitted, {METADATA: json.dumps({**about, **notes})}).state
        return f"{counted(state.epochs, 'epoch')}, {state.seconds:.1f} s"
