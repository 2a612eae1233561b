"""Label efficiency: accuracy by the number of training clips per class, on the folds of the experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from features.errors import ManifestError
from heads.evaluation.prediction_table import to_table
from heads.options import HeadOptions
from heads.splits.feasibility import base_protocol
from heads.splits.few_shot import few_shot_splits
from heads.splits.groups import clip_groups
from heads.splits.protocol import Splits, make_splits
from heads.splits.targets import targets_of
from pipeline.config.config import Config, label_of
from pipeline.config.schema import LabelEfficiencySection
from pipeline.fits.task import FitTask
from pipeline.results.expected_fits import head_folder, poolings_of
from pipeline.results.fit import Fit, read_fit
from pipeline.results.run_folder import finish_fit, is_done, start_fit
from pipeline.results.table import counted
from pipeline.stages.context import Stage2, head_job
from pipeline.stages.fit_metadata import about_result
from pipeline.stages.head_fits import ReadFeatures, feature_reader, fit_head, predictions_of

FOLDER = "label-efficiency"
CURVE_NUMBERS = ("clips per class", "draws", "accuracy", "mAP", "95 % interval")


@dataclass(frozen=True)
class Point:
    """One point of a curve: a head on a backbone, trained on some clips per class."""

    model: str
    head: HeadOptions
    shots: int | None

    @property
    def shots_text(self) -> str:
        """Clips per class, or `all`."""
        return "all" if self.shots is None else str(self.shots)

    def folder(self, run_dir: Path) -> Path:
        """Return the folder of its results."""
        return run_dir / FOLDER / self.model / head_folder(self.head) / self.shots_text


def points(config: Config) -> Iterator[Point]:
    """Yield every point of a config, curve by curve, in order of increasing clips per class."""
    section = config.label_efficiency
    if section is None:
        return
    heads = [head for head in config.heads if isinstance(head, HeadOptions)]
    heads = heads[:1] if section.heads is None else [head for head in heads if label_of(head) in section.heads]
    numbers = sorted(number for number in section.shots if isinstance(number, int))
    shots: list[int | None] = [*numbers]
    if "all" in section.shots:
        shots.append(None)
    for backbone in config.features.backbones:
        label = label_of(backbone)
        if section.backbones is None or label in section.backbones:
            yield from (Point(label, head, number) for head in heads for number in shots)


def curve_tasks(stage: Stage2) -> list[FitTask]:
    """Return the fits of all points, curve by curve. All folds and draws of a point are trained as one job.

    Raises:
        ManifestError: A class has fewer training clips than `shots`, or the labels are numbers.
    """
    section = stage.config.label_efficiency
    if section is None:
        return []
    base = _base_splits(stage)
    drawn = cache(partial(_part, stage, base, section))  # the same for all models
    read = feature_reader(stage)
    tasks = []
    for point in points(stage.config):
        table, poolings = stage.inputs.tables[point.model], tuple(poolings_of(stage.config, point.head))
        part = drawn(point.shots)
        folder, job = point.folder(stage.config.run_dir), head_job(part, table, point.head, poolings)
        name = f"{point.model} {head_folder(point.head)} {point.shots_text} per class"
        tasks.append(
            FitTask(
                what=f"label-efficiency {stage.manifest.name} {name}",
                folder=folder,
                job=job,
                is_done=partial(is_done, folder, job),
                train=partial(_train, part, point, poolings, job, read),
            )
        )
    return tasks


def read_curves(config: Config) -> list[Fit]:
    """Read the fit of every point, in the order of `points`.

    Raises:
        UserError: A point is not trained yet.
    """
    return [
        read_fit(
            point.folder(config.run_dir),
            f"label efficiency of {point.model} {point.head.title}",
            config.command("train-heads"),
        )
        for point in points(config)
    ]


def curve_table(fits: Sequence[Fit], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the table of `label_efficiency.csv`, one row per point.

    Args:
        fits: From `read_curves`.
        rows: The row of each fit in the results table.
    """
    shown = ("dataset", "model", "pooling", "head", "protocol")
    figures = [name for name in (rows[0] if rows else ()) if name.startswith(("accuracy", "metric", "value"))]
    return pd.DataFrame(
        [
            {name: row[name] for name in shown}
            | {"shots": "all" if fit.about["shots"] is None else fit.about["shots"]}
            | {name: fit.about[name] for name in ("n_train", "draws")}
            | {name: row[name] for name in figures}
            for fit, row in zip(fits, rows, strict=True)
        ]
    )


def curve_cells(curve: pd.DataFrame) -> dict[str, list[str]]:
    """Format a curve table for printing: one column of texts per heading."""
    score = "value" if "value" in curve else "accuracy"
    low, high = curve[f"{score}_ci_low"], curve[f"{score}_ci_high"]
    return {
        "model": curve["model"].tolist(),
        "head": curve["head"].tolist(),
        "clips per class": curve["shots"].astype(str).tolist(),
        "draws": curve["draws"].astype(str).tolist(),
        str(curve["metric"].iat[0]) if score == "value" else score: [f"{value:.3f}" for value in curve[score]],
        "95 % interval": [f"{one:.3f}–{other:.3f}" for one, other in zip(low, high, strict=True)],
    }


def _base_splits(stage: Stage2) -> Splits:
    """Return the splits that training clips are drawn from: those of the experiment without few-shot draws."""
    config, manifest = stage.config, stage.manifest
    return make_splits(
        manifest.without_added_labels,
        base_protocol(manifest, config.protocol),
        split_seed=config.split_seed,
        absent_classes=config.absent_classes,
        keys=[content.key for content in stage.inputs.contents],
        failed=[row for row, clip in enumerate(manifest.clips["id"]) if clip in stage.inputs.failures],
    )


def _train(
    part: Stage2,
    point: Point,
    poolings: tuple[str, ...],
    job: str,
    read: ReadFeatures,
) -> str:
    """Train one point, whose splits are those of `part`, write its results, and summarise them."""
    table, splits = part.inputs.tables[point.model], part.splits.splits
    result = fit_head(part, point.model, table, point.head, read(point.model, poolings), part.splits)
    folder = point.folder(part.config.run_dir)
    start_fit(folder)
    about = {
        "job": job,
        "model": point.model,
        "head": point.head.title,
        "pooling": "+".join(poolings),
        "shots": point.shots,
        "draws": 1 + max(split.draw for split in splits),
        "n_train": sum(len(split.train) for split in splits) / len(splits),
        **about_result(part, result),
    }
    predictions = predictions_of(part, point.model, point.head, poolings, result)
    finish_fit(folder, about, to_table(predictions, part.manifest.labels))
    return f"{counted(len(splits), 'split')}, {result.train_seconds:.1f} s"


def _part(stage: Stage2, base: Splits, section: LabelEfficiencySection, shots: int | None) -> Stage2:
    """Return the stage with splits of some training clips per class."""
    groups = clip_groups(stage.manifest, [content.key for content in stage.inputs.contents])
    ids = stage.manifest.clips["id"].to_numpy(dtype=str)
    try:
        splits = few_shot_splits(
            base,
            targets_of(stage.manifest.without_added_labels),
            groups,
            ids,
            shots,
            section.draws,
            stage.config.split_seed,
            name=stage.manifest.name,
        )
    except ManifestError as error:
        raise ManifestError(str(error).replace("few_shot.shots", "label_efficiency.shots")) from error
    return replace(stage, splits=splits)
