"""The fits of `open_set`: every head on every backbone, trained without each class in turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.errors import ConfigError
from heads.evaluation.absent import absent_classes
from heads.options import HeadOptions
from heads.splits.protocol import Splits
from heads.splits.without_class import WithoutClass, targets_without
from heads.training.kept_blocks import KeptBlocks
from heads.training.open_set import known_scores
from pipeline.config.config import Config, label_of
from pipeline.fits.task import FitTask
from pipeline.results.expected_fits import head_folder, poolings_of
from pipeline.results.fit import Fit, read_fit
from pipeline.results.run_folder import finish_fit, is_done, start_fit
from pipeline.stages.context import Stage2, head_job
from pipeline.stages.head_fits import ReadFeatures, feature_reader, fit_head
from pipeline.stages.head_tasks import UNFINISHED
from pipeline.stages.open_set.kept_parts import read_part, write_part
from pipeline.stages.open_set.scores_table import scores_table

FOLDER = "open-set"
MOST_SCORES = 2**25  # rows of a model's table
FEWEST_CLASSES = 3


def check_open_set(stage: Stage2) -> None:
    """Check that heads can be trained without any of the classes, if the config asks for it.

    Raises:
        ConfigError: Clips do not have one class each, there are too few classes or too many scores, or a split would
            have a single class in training or nothing to validate on.
    """
    if not stage.config.open_set:
        return
    name, targets = stage.manifest.name, stage.targets
    if targets.task != "single-label":
        what = "the labels are numbers" if targets.task == "regression" else "clips can have several labels"
        raise ConfigError(f"open_set: needs one class per clip, and {what} in {name}; remove it")
    n_classes = len(_classes(stage))
    if n_classes < FEWEST_CLASSES:
        raise ConfigError(
            f"open_set: {name} has {n_classes} classes, and a head without one of them needs two; remove it"
        )
    n_scores = n_classes * len(stage.config.seeds) * sum(len(split.test) for split in stage.splits.splits)
    if n_scores > MOST_SCORES:
        raise ConfigError(
            f"open_set: {n_classes} classes and the test clips of {name} give {n_scores:,} scores per model, more than "
            f"{MOST_SCORES:,}; remove it"
        )
    for split in stage.splits.splits:
        trained, validated = (np.unique(targets.values[rows]) for rows in (split.train, split.valid))
        if len(trained) < FEWEST_CLASSES:
            raise ConfigError(
                f"open_set: the training clips have {len(trained)} classes when fold {split.fold!r} is tested, and "
                f"{FEWEST_CLASSES} are needed; remove it"
            )
        if len(validated) == 1:
            raise ConfigError(
                f"open_set: all validation clips have the class {targets.names[validated[0]]!r} when fold "
                f"{split.fold!r} is tested, so none are left without it; remove it"
            )


def open_set_tasks(stage: Stage2) -> list[FitTask]:
    """Return the fits of all heads without a class, one task per backbone and head; none unless `open_set` is set."""
    read = feature_reader(stage)
    tasks = []
    for label, head in models(stage.config):
        table, poolings = stage.inputs.tables[label], tuple(poolings_of(stage.config, head))
        folder, job = open_set_folder(stage.config, label, head), head_job(stage, table, head, poolings)
        tasks.append(
            FitTask(
                what=f"open-set {stage.manifest.name} {label} {head_folder(head)}",
                folder=folder,
                job=job,
                is_done=partial(is_done, folder, job),
                train=partial(_train, stage, label, head, poolings, job, folder, read),
            )
        )
    return tasks


def models(config: Config) -> Iterator[tuple[str, HeadOptions]]:
    """Yield the label of the backbone and the head of every model that `open_set` trains."""
    if config.open_set:
        for backbone in config.features.backbones:
            yield from ((label_of(backbone), head) for head in config.heads if isinstance(head, HeadOptions))


def open_set_folder(config: Config, label: str, head: HeadOptions) -> Path:
    """Return the folder of a model's results."""
    return config.run_dir / FOLDER / label / head_folder(head)


def read_open_set(config: Config) -> list[Fit]:
    """Read the fit of every model that `open_set` trains, in the order of `models`.

    Raises:
        UserError: A model is not trained yet.
    """
    return [
        read_fit(
            open_set_folder(config, label, head),
            f"open-set {label} {head.title}",
            config.command("train-heads"),
        )
        for label, head in models(config)
    ]


def _classes(stage: Stage2) -> list[int]:
    """Return the numbers of the classes that clips have, without that of background that joins training."""
    added = stage.manifest.added_labels
    return [number for number, name in enumerate(stage.targets.names) if name not in added]


def _train(
    stage: Stage2,
    label: str,
    head: HeadOptions,
    poolings: tuple[str, ...],
    job: str,
    folder: Path,
    read: ReadFeatures,
) -> str:
    """Train a head without each class, one batched job per class, write the scores of all, and summarise them.

    The scores of each class are kept until all are there. An interrupted job continues with the class that it was at.
    """
    parts, seconds = [], 0.0
    for held_out in _classes(stage):
        path, own_job = folder / UNFINISHED / f"{held_out}.parquet", f"{job} {held_out}"
        found = read_part(path, own_job)
        if found is None:
            kept = KeptBlocks(path.with_suffix(""), own_job)
            found = _without(stage, label, head, poolings, held_out, read, kept)
            write_part(path, own_job, *found)
        parts.append(found[0])
        seconds += found[1]
    start_fit(folder)
    about = {
        "job": job,
        "dataset": stage.manifest.name,
        "model": label,
        "head": head.title,
        "pooling": "+".join(poolings),
        "train_seconds": seconds,
        "train_device": stage.device,
    }
    finish_fit(folder, about, pa.concat_tables(parts))
    return f"without each of {len(parts)} classes, {seconds:.1f} s"


def _without(
    stage: Stage2,
    label: str,
    head: HeadOptions,
    poolings: tuple[str, ...],
    held_out: int,
    read: ReadFeatures,
    kept: KeptBlocks,
) -> tuple[pa.Table, float]:
    """Train a head without one class; return the scores of all test clips, and the seconds of the training."""
    splits = WithoutClass(stage.splits.splits, stage.targets.values, held_out)
    part = replace(stage, targets=targets_without(stage.targets, held_out))
    table, features = stage.inputs.tables[label], read(label, poolings)
    known_splits = Splits(stage.splits.protocol, splits, (), stage.splits.absent_classes)
    result = fit_head(part, label, table, head, features, known_splits, keep_scores=True, kept=kept)
    n_classes, n_seeds = part.targets.n_outputs, len(stage.config.seeds)
    every = np.arange(n_classes)
    found = []
    for at, fit in enumerate(result.fits):  # by split, then by seed
        train = part.targets.values[splits[at // n_seeds].train]
        known = np.setdiff1d(every, absent_classes(train, n_classes, part.targets.task))
        found.append(known_scores(fit, known))
    ids = stage.manifest.clips["id"].to_numpy(dtype=object)
    return scores_table(found, ids, stage.targets.names[held_out]), result.train_seconds
