"""The input of one experiment's report: its models with their stored predictions, its clips and its warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.backbones.presets.corpora import Corpus as KnownCorpus
from features.corpus import Corpus
from features.errors import ManifestError
from features.manifest import Manifest
from heads.evaluation.majority import BASELINE
from heads.evaluation.predictions import Predictions
from heads.evaluation.scores import ranking_score
from heads.options import HeadOptions
from heads.splits.groups import clip_groups
from heads.splits.protocol import Splits
from pipeline.config.config import Config, label_of
from pipeline.report.decisions import DecisionRows, DecisionTables
from pipeline.report.false_alarms import FalseAlarmTables, false_alarm_tables
from pipeline.report.open_set import OpenSetTables, open_set_tables
from pipeline.report.outcomes.confusions import Confusions, confusions, decisions
from pipeline.report.outcomes.outcomes import Outcomes, outcomes
from pipeline.results.contamination import backbones_of, corpus_of
from pipeline.results.device_costs import device_columns, read_device_costs
from pipeline.results.expected_fits import poolings_of
from pipeline.results.fit import Fit
from pipeline.results.group_names import SuggestedGroups, groups_in_names
from pipeline.results.scoring import is_control, score
from pipeline.results.table import table_of
from pipeline.stages.context import splits_of
from pipeline.stages.features import load_corpus
from pipeline.stages.inputs import Inputs, read_inputs
from pipeline.stages.label_efficiency import curve_table, read_curves
from pipeline.stages.majority import majority_of_run
from pipeline.stages.open_set.tasks import read_open_set
from pipeline.stages.train_heads import collect_predictions, read_fits


@dataclass(frozen=True)
class StudyModel:
    """One model, that is one row of the results table, with its predictions.

    Attributes:
        title: Display name, such as `yamnet · linear`. It is unique within a study.
        row: Its row of `results.csv`.
        details: Its entry in `results.json`: `row`, scores by fold, seed and class, the candidates and the chosen
            ones, cost and versions.
        fit: Its folder and `fit.json`.
        outcomes: Its predictions of the test clips.
        confusions: Its confusion matrix, or its decisions in `multi-label`; None in regression.
    """

    title: str
    row: Mapping[str, Any]
    details: Mapping[str, Any]
    fit: Fit
    outcomes: Outcomes
    confusions: Confusions | None

    @property
    def head_title(self) -> str:
        """The part of the title after the backbone: the head, with the pooling if two titles would be equal."""
        return self.title.removeprefix(str(self.row["model"])).removeprefix(" · ")

    @property
    def is_control(self) -> bool:
        """Whether it is an untrained control: a head on a network with random weights."""
        return is_control(self.row)

    @property
    def is_baseline(self) -> bool:
        """Whether it is the majority row, which knows the training labels only."""
        return self.row["family"] == BASELINE


@dataclass(frozen=True)
class Study:
    """One experiment.

    Attributes:
        config: The experiment's config.
        manifest: Its N clips in order, including failed ones.
        inputs: Its caches by backbone label, the content of every clip, and failures (id -> reason).
        groups: The group of each clip by which intervals are clustered, shape (N,).
        tested: The manifest rows of the T test clips, ascending, shape (T,). The position of a clip in this array is
            its number in the page.
        models: The models in the order of `table`, best first, and the majority row.
        table: `results.csv`, one row per model.
        curve: `label_efficiency.csv`; empty if the experiment has none.
        decisions: Calibration and thresholds of the models, in files of their own.
        warnings: Warnings recorded with the models, without duplicates.
        open_set: How models meet classes that they do not know; empty if the experiment does not ask for it.
    """

    config: Config
    manifest: Manifest
    inputs: Inputs
    groups: np.ndarray
    tested: np.ndarray
    models: tuple[StudyModel, ...]
    table: pd.DataFrame
    curve: pd.DataFrame
    warnings: tuple[str, ...]
    decisions: DecisionTables = field(default_factory=DecisionTables)
    open_set: OpenSetTables = field(default_factory=OpenSetTables)

    @property
    def metric(self) -> str:
        """The score that ranks the models: `accuracy`, `mAP` or `CCC`."""
        return ranking_score(self.manifest.task).name

    @property
    def cache_folder(self) -> Path:
        """The folder of the dataset in the cache."""
        return self.config.output.cache / self.manifest.name

    @property
    def score(self) -> str:
        """The column of `table` with this score. Its interval is in `<score>_ci_low` and `<score>_ci_high`."""
        score = ranking_score(self.manifest.task)
        return score.column or score.name

    def head_of(self, model: StudyModel) -> HeadOptions | None:
        """Return the config of a model's head; None for a model trained end to end."""
        heads = [head for head in self.config.heads if isinstance(head, HeadOptions)]
        for head in heads:
            if label_of(head) == model.row["head"] and "+".join(poolings_of(self.config, head)) == model.row["pooling"]:
                return head
        return None

    @property
    def learned(self) -> tuple[StudyModel, ...]:
        """The models without the majority row, best first."""
        return tuple(model for model in self.models if not model.is_baseline)

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones and networks in the order of their best models, which is the order of their colours."""
        return tuple(dict.fromkeys(str(model.row["model"]) for model in self.learned))

    @property
    def baseline(self) -> StudyModel | None:
        """The majority row; None if it cannot be computed for these models."""
        return next((model for model in self.models if model.is_baseline), None)

    @property
    def n_groups(self) -> int:
        """Number of groups that the manifest gives to the test clips; 0 if it gives none."""
        return int(self.models[0].row["n_groups"])

    @cached_property
    def splits(self) -> Splits | None:
        """The experiment's splits; None if clips have changed so that the protocol no longer fits."""
        try:
            return splits_of(self.config, self.manifest, self.inputs, strict=False)
        except ManifestError:
            return None

    @cached_property
    def suggested_groups(self) -> SuggestedGroups | None:
        """Groups that the file names suggest, if the manifest gives none."""
        return next(iter(groups_in_names(self.manifest)), None)

    @cached_property
    def false_alarms(self) -> FalseAlarmTables:
        """False alarms of the models on background."""
        return false_alarm_tables(self.manifest, self.inputs, [(model.title, model.fit) for model in self.learned])

    @property
    def failures(self) -> dict[str, str]:
        """Failed clips, which are not scored: id -> reason."""
        return self.inputs.failures


def gather(config: Config, corpus: Corpus | None = None) -> Study:
    """Score the stored predictions of an experiment, without training or embedding anything.

    Args:
        config: The experiment.
        corpus: From `load_corpus`; None loads it.

    Raises:
        UserError: A model of this config is not trained yet; the message contains the command.
        RunError: Models were tested on different clips.
    """
    corpus = corpus or load_corpus(config)
    manifest = corpus.manifest
    fits = read_fits(config)
    inputs = read_inputs(config, corpus)
    baseline = majority_of_run(config, manifest, inputs, fits)
    collect_predictions(config, manifest, baseline)
    fits += [baseline] if baseline else []
    groups = clip_groups(manifest, inputs.contents.texts("key").to_pylist())
    curves, open_set = read_curves(config), read_open_set(config)
    return study_of(config, manifest, inputs, groups, fits, curves, backbones_of(config), corpus_of(config), open_set)


def study_of(
    config: Config,
    manifest: Manifest,
    inputs: Inputs,
    groups: np.ndarray,
    fits: Sequence[Fit],
    curves: Sequence[Fit] = (),
    backbone_of: Mapping[str, str] | None = None,
    corpus: KnownCorpus | None = None,
    open_set: Sequence[Fit] = (),
) -> Study:
    """Score models and keep what the page shows of their predictions, with one model's predictions in memory at a time.

    Args:
        config: The experiment.
        manifest: Its N clips.
        inputs: Its caches, contents and failures.
        groups: Group of each clip, shape (N,).
        fits: The models.
        curves: Models of the label-efficiency curves.
        backbone_of: Backbone of each label, see `score`.
        corpus: The corpus of the clips, see `score`.
        open_set: Heads trained without each class, from `read_open_set`.

    Raises:
        RunError: Models were tested on different clips.
    """
    ids = manifest.clips["id"].to_numpy(dtype=object)
    tested = np.flatnonzero(np.isin(ids.astype(str), fits[0].table(["id"])["id"].to_numpy().astype(str)))
    order = np.argsort(np.argsort(ids[tested]))  # predictions are sorted by id
    kept: list[tuple[Outcomes, Confusions | None]] = []

    decision_rows = DecisionRows(fits, manifest, groups)

    def keep(fit: Fit, predictions: Sequence[Predictions], pooled: Sequence[Predictions]) -> None:
        found = outcomes(pooled, order)
        matrix = {"single-label": lambda: confusions(found), "multi-label": lambda: decisions(pooled, order)}
        kept.append((found, matrix[manifest.task]() if manifest.task in matrix else None))
        decision_rows.add(fit, predictions, pooled)

    rows, details = score(fits, manifest, groups, len(inputs.failures), backbone_of, corpus, keep)
    tables, unknown = decision_rows.tables(), open_set_tables(open_set, manifest, groups)
    of_unknown = [unknown.columns.get((str(row["model"]), str(row["head"]), str(row["pooling"])), {}) for row in rows]
    added = [
        own | dict(more) | device_columns(fit.folder)
        for fit, own, more in zip(fits, tables.columns, of_unknown, strict=True)
    ]
    rows = [row | own for row, own in zip(rows, added, strict=True)]
    details = [
        detail | own | {"device": read_device_costs(fit.folder) or None}
        for fit, detail, own in zip(fits, details, added, strict=True)
    ]
    table = table_of(rows)
    models = [
        StudyModel(title, row, detail, fit, *own)
        for title, row, detail, fit, own in zip(_titles(rows), rows, details, fits, kept, strict=True)
    ]
    return Study(
        config=config,
        manifest=manifest,
        inputs=inputs,
        groups=groups,
        tested=tested,
        models=tuple(models[at] for at in order_of(table, rows)),
        table=table,
        curve=curve_table(curves, score(curves, manifest, groups, len(inputs.failures))[0] if curves else []),
        decisions=tables,
        open_set=unknown,
        warnings=tuple(dict.fromkeys([*(note for fit in fits for note in fit.about["warnings"]), *tables.notes])),
    )


def order_of(table: pd.DataFrame, rows: list[dict[str, Any]]) -> list[int]:
    """Return the index in `rows` of each line of `table`, which is `table_of(rows)`."""
    key = ["model", "head", "pooling"]
    row_of = {tuple(str(row[name]) for name in key): at for at, row in enumerate(rows)}
    return [row_of[tuple(str(line[name]) for name in key)] for line in table.to_dict("records")]


def _titles(rows: list[dict[str, Any]]) -> list[str]:
    """Return titles such as `yamnet · linear`, with the pooling added if two titles would be equal."""
    short = [
        f"{row['model']} · {row['head']}" if row["head"] not in ("none", "") else str(row["model"]) for row in rows
    ]
    return [
        f"{title} · {row['pooling']}" if short.count(title) > 1 else title
        for title, row in zip(short, rows, strict=True)
    ]
