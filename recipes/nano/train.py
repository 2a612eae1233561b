"""Pretrains the small encoder: `python -m recipes.nano.train --teacher yamnet.tflite --out DIR`."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.utils.data import DataLoader

from features.backbones.digests import file_sha256
from recipes.nano.clips import HELD_OUT, TRAIN
from recipes.nano.student import Student, Training
from recipes.nano.teaching import Batches, Corpus

HELD_OUT_BATCHES = 16


class Clips(lightning.LightningDataModule):
    """The batches of each epoch, by their numbers, so that a resumed run sees what an undisturbed one would."""

    def __init__(self, corpus: Corpus, epoch_steps: int, workers: int) -> None:
        """Take what to make, how many batches an epoch has and by how many processes they are made."""
        super().__init__()
        self.corpus, self.epoch_steps, self.workers = corpus, epoch_steps, workers

    def train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """The batches of the current epoch."""
        assert self.trainer is not None
        first = self.trainer.current_epoch * self.epoch_steps
        return self._loader(self.corpus, range(first, first + self.epoch_steps))

    def val_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """The held-out clips, the same each time."""
        return self._loader(dataclasses.replace(self.corpus, part=HELD_OUT), range(HELD_OUT_BATCHES))

    def _loader(self, corpus: Corpus, numbers: range) -> DataLoader[dict[str, torch.Tensor]]:
        return DataLoader(Batches(corpus), batch_size=None, sampler=numbers, num_workers=self.workers)


class Curve(Callback):
    """A line of `curve.csv` after each epoch: clips seen, seconds of work, held-out scores."""

    def __init__(self, path: Path, batch: int) -> None:
        """Write to `path`; a step has `batch` clips."""
        self.path, self.batch, self.began = path, batch, time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Add what was measured."""
        scores = {name: f"{float(value):.5f}" for name, value in sorted(trainer.callback_metrics.items())}
        seconds = round(time.monotonic() - self.began, 1)
        line = {"step": trainer.global_step, "clips": trainer.global_step * self.batch, "seconds": seconds, **scores}
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, line)
            if fresh:
                writer.writeheader()
            writer.writerow(line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on training, and keep the best state by the held-out clips."""
    parser = _parser()
    given = parser.parse_args(arguments)
    with_teacher = given.objective != "contrast"
    if with_teacher and (given.teacher is None or not given.teacher.is_file()):
        parser.error(f"--teacher {given.teacher}: no such file; --objective {given.objective} needs a yamnet.tflite")
    training = Training(
        steps=given.steps,
        learning_rate=given.learning_rate,
        distill=float(with_teacher),
        contrast=0.0 if given.objective == "distill" else given.contrast_weight,
        seed=given.seed,
    )
    teacher = given.teacher if with_teacher else None
    corpus = Corpus(teacher, given.seed, TRAIN, given.batch, 1 + bool(training.contrast))
    given.out.mkdir(parents=True, exist_ok=True)
    settings = {**dataclasses.asdict(training), **dataclasses.asdict(corpus)}
    settings["teacher"] = None if teacher is None else file_sha256(teacher)
    (given.out / "settings.json").write_text(json.dumps(settings, indent=1) + "\n")
    student = Student(training)
    checkpoints = given.out / "checkpoints"
    last = checkpoints / "last.ckpt"
    if with_teacher and not last.exists():
        student.target_scale.fill_(Batches(corpus)[0]["targets"].std())
    monitor = "valid_loss" if with_teacher else "valid_contrast"
    # after an epoch's end, so that a run goes on with the next one
    of_an_epoch: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    trainer = lightning.Trainer(
        accelerator=given.device,
        devices=1,
        max_steps=given.steps,
        gradient_clip_val=1.0,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=given.progress,
        enable_model_summary=False,
        callbacks=[
            ModelCheckpoint(checkpoints, "best", monitor=monitor, **of_an_epoch),
            ModelCheckpoint(checkpoints, "last", **of_an_epoch),
            Curve(given.out / "curve.csv", given.batch),
        ],
    )
    clips = Clips(corpus, given.epoch_steps, given.workers)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\b")  # advice about workers and folders
        trainer.fit(student, datamodule=clips, ckpt_path=last if last.exists() else None, weights_only=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--teacher", type=Path, help="a yamnet.tflite")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an earlier run there goes on")
    parser.add_argument("--objective", choices=["distill", "contrast", "both"], default="distill")
    parser.add_argument("--contrast-weight", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=5000, help="batches")
    parser.add_argument("--epoch-steps", type=int, default=250, help="batches between validations")
    parser.add_argument("--batch", type=int, default=32, help="clips a batch")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that make clips")
    parser.add_argument("--device", choices=["cpu", "cuda", "auto"], default="auto")
    parser.add_argument("--progress", action="store_true", help="show a bar")
    return parser


if __name__ == "__main__":
    main()
