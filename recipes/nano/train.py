"""Pretrain the small encoder: `python -m recipes.nano.train --clips DIR --teacher yamnet.tflite --out DIR`."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
import random
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.utils.data import DataLoader, Dataset

from features.numerics import full_float32
from features.system.malloc import keep_large_buffers
from recipes.nano.clips import HELD_OUT, TRAIN
from recipes.nano.student import OBJECTIVES, Student, Training
from recipes.nano.teaching import RENDERINGS, SHARD, Corpus, Shards


class Clips(lightning.LightningDataModule):
    """The batches of each epoch, selected by number, so that a resumed run gets the same batches."""

    def __init__(self, corpus: Corpus, options: argparse.Namespace) -> None:
        """Store the corpus and the command-line options."""
        super().__init__()
        self.corpus, self.options = corpus, options

    def train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """Return the batches of the current epoch."""
        assert self.trainer is not None
        first, parts = self.trainer.current_epoch * self.options.epoch_steps, SHARD // self.options.batch
        steps = range(first, first + self.options.epoch_steps)
        shards = [shard_at(step // parts, self.options.reuse, self.corpus.seed) for step in steps]
        return self._loader(TRAIN, [(shard, step % parts) for shard, step in zip(shards, steps, strict=True)], parts)

    def val_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """Return the held-out clips, which are always the same."""
        return self._loader(HELD_OUT, [(shard, 0) for shard in range(self.options.held_out)], 1)

    def _loader(self, part: int, batches: list[tuple[int, int]], parts: int) -> DataLoader[dict[str, torch.Tensor]]:
        assert self.trainer is not None
        own = Share(Shards(self.corpus, part), parts, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(own, batch_size=None, sampler=batches, num_workers=self.options.workers)


class Share(Dataset[dict[str, torch.Tensor]]):
    """The rows of a batch that one process trains on; the two renderings of a clip stay together."""

    def __init__(self, shards: Shards, parts: int, rank: int, world_size: int) -> None:
        """Store the shards, the number of batches per shard, the rank and the number of processes."""
        self.shards, self.parts, self.rank, self.world_size = shards, parts, rank, world_size

    def __getitem__(self, batch: tuple[int, int]) -> dict[str, torch.Tensor]:
        """Return the rows of batch (shard, part) for this process."""
        shard, part = batch
        first, every = part * self.world_size + self.rank, self.parts * self.world_size
        return {name: values[first::every] for name, values in self.shards[shard].items()}


def shard_at(turn: int, reuse: int, seed: int) -> int:
    """Return the shard of a turn: a new shard every `reuse` turns, otherwise a random earlier one."""
    return turn // reuse if turn % reuse == 0 else random.Random(f"{seed} {turn}").randrange(turn // reuse + 1)


class Curve(Callback):
    """Writes a line to `curve.csv` after each epoch: waveforms, seconds over all runs, held-out losses."""

    def __init__(self, path: Path, batch: int) -> None:
        """Write to `path`, or append to an existing file; a step has `batch` waveforms."""
        self.path, self.batch, self.began = path, batch, time.monotonic()
        lines = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
        last = lines[-1] if lines else {"step": 0, "seconds": 0}
        self.step_before, self.seconds_before = int(last["step"]), float(last["seconds"])

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Append a line."""
        if not trainer.is_global_zero or trainer.global_step <= self.step_before:
            return  # a resumed run calls this again for its last epoch
        scores = {name: f"{float(value):.5f}" for name, value in sorted(trainer.callback_metrics.items())}
        seconds = round(self.seconds_before + time.monotonic() - self.began, 1)
        step = trainer.global_step
        line = {"step": step, "waveforms": step * self.batch, "seconds": seconds, **scores}
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, line)
            if fresh:
                writer.writeheader()
            writer.writerow(line)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train or resume training, and keep the state with the best loss on held-out clips."""
    parser = _parser()
    given = parser.parse_args(arguments)
    objectives = dict(given.objectives)
    taught = "distill" in objectives
    if taught and (given.teacher is None or not given.teacher.is_file()):
        parser.error(f"--teacher {given.teacher}: no such file; the objective distill needs a yamnet.tflite")
    if SHARD % given.batch or given.batch % (RENDERINGS * given.processes):
        multiple = RENDERINGS * given.processes
        parser.error(f"--batch {given.batch}: should divide {SHARD} and be a multiple of {multiple}")
    if given.start is not None and not _best(given.start).is_file():
        parser.error(f"--start {given.start}: not a finished run, {_best(given.start)} is missing")
    training = Training(
        objectives={name: objectives[name] for name in sorted(objectives)},
        steps=given.steps,
        warmup=given.warmup,
        learning_rate=given.learning_rate,
        seed=given.seed,
    )
    corpus = Corpus(given.clips, given.teacher, given.seed)
    try:
        corpus.claim()
    except ValueError as error:
        parser.error(str(error))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "settings.json").write_text(json.dumps(dataclasses.asdict(training), indent=1) + "\n")
    if given.processes > 1:
        torch.set_num_threads(1)
    keep_large_buffers()
    student = Student(training)
    last = given.out / "checkpoints" / "last.ckpt"
    if not last.exists():
        shards = Shards(corpus, TRAIN)
        student.fit_scales([shards[number] for number in range(given.scale_shards)])
        if given.start is not None:
            student.start_from(best_state(given.start))
    # saved after the end of an epoch, so that a run resumes with the next one
    of_an_epoch: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    trainer = lightning.Trainer(
        accelerator=given.device,
        devices=given.processes,
        strategy="ddp" if given.processes > 1 else "auto",
        use_distributed_sampler=False,
        max_steps=given.steps,
        gradient_clip_val=1.0,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=given.progress,
        enable_model_summary=False,
        callbacks=[
            ModelCheckpoint(last.parent, "best", monitor="valid_loss", **of_an_epoch),
            ModelCheckpoint(last.parent, "last", **of_an_epoch),
            Curve(given.out / "curve.csv", given.batch),
        ],
    )
    clips = Clips(corpus, given)
    with full_float32(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\b")  # advice about workers and folders
        trainer.fit(student, datamodule=clips, ckpt_path=last if last.exists() else None, weights_only=True)


def best_state(run: Path) -> dict[str, torch.Tensor]:
    """Read the best state in a run's folder: the `Student` with encoder, readers and averages."""
    state: dict[str, torch.Tensor] = torch.load(_best(run), map_location="cpu", weights_only=True)["state_dict"]
    return state


def _best(run: Path) -> Path:
    return run / "checkpoints" / "best.ckpt"


def _objective(text: str) -> tuple[str, float]:
    """Parse an objective and its weight, `name` or `name=weight`."""
    name, _, weight = text.partition("=")
    if name not in OBJECTIVES:
        raise argparse.ArgumentTypeError(f"{name}: unknown objective, use some of {', '.join(OBJECTIVES)}")
    try:
        value = float(weight) if weight else OBJECTIVES[name]
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: the weight should be a number above zero")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder where generated clips are stored")
    parser.add_argument("--teacher", type=Path, help="path of yamnet.tflite")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an earlier run in it is resumed")
    parser.add_argument(
        "--objectives",
        nargs="+",
        type=_objective,
        default=[_objective("distill"), _objective("spectra")],
        metavar="NAME[=WEIGHT]",
        help=f"objectives, from {', '.join(OBJECTIVES)}",
    )
    parser.add_argument("--start", type=Path, help="folder of a finished run; start from its best state")
    parser.add_argument("--steps", type=int, default=5500, help="number of batches")
    parser.add_argument("--epoch-steps", type=int, default=100, help="batches between validations")
    parser.add_argument("--reuse", type=int, default=2, help="how often each generated clip is used")
    parser.add_argument("--batch", type=int, default=16, help="waveforms per step, two renderings of each clip")
    parser.add_argument("--held-out", type=int, default=8, help=f"validation shards of {SHARD} waveforms")
    parser.add_argument(
        "--scale-shards", type=int, default=8, help=f"shards of {SHARD} waveforms to measure the targets' scale"
    )
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--warmup", type=int, default=100, help="steps over which the learning rate increases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that generate clips, per training process")
    parser.add_argument("--processes", type=int, default=1, help="training processes, each with a part of every batch")
    parser.add_argument("--device", choices=["cpu", "cuda", "auto"], default="auto")
    parser.add_argument("--progress", action="store_true", help="show a progress bar")
    return parser


if __name__ == "__main__":
    main()
