"""False alarms of an experiment's models on its background, for the report and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from features.manifest import Manifest
from pipeline.results.decisions.background_scores import read_scores
from pipeline.results.decisions.false_alarm_rows import FalseAlarmsOfModel, LoudWindow
from pipeline.results.decisions.fit_decisions import KEYS, read_decisions
from pipeline.results.fit import Fit
from pipeline.stages.inputs import Inputs

LOUDEST = 15


@dataclass(frozen=True)
class ModelFalseAlarms:
    """False alarms of one model.

    Attributes:
        title: Display name of the model.
        rows: Rows of `false_alarms.csv`.
        loudest: The most probable false alarms.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    loudest: Sequence[LoudWindow]


@dataclass(frozen=True)
class FalseAlarmTables:
    """False alarms of an experiment; empty if it has no background.

    Attributes:
        models: The models, in the order of the results table.
        labels: Class names.
        ids: Id of each window that models were tested on.
        windows: Their rows in `Background`, shape (n,).
        notes: Why models are missing.
    """

    models: tuple[ModelFalseAlarms, ...] = ()
    labels: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    windows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    notes: tuple[str, ...] = ()

    @cached_property
    def table(self) -> pd.DataFrame:
        """`false_alarms.csv`."""
        return pd.DataFrame([row for model in self.models for row in model.rows])

    @property
    def entries(self) -> list[dict[str, Any]]:
        """`false_alarms.json`: the rows of each model and its most probable false alarms."""
        return [
            {
                "model": model.title,
                "rows": list(model.rows),
                "loudest": [
                    {"id": self.ids[one.window], "class": self.labels[one.label], "score": one.score, "fits": one.fits}
                    for one in model.loudest
                ],
            }
            for model in self.models
        ]


def false_alarm_tables(manifest: Manifest, inputs: Inputs, fits: Sequence[tuple[str, Fit]]) -> FalseAlarmTables:
    """Count the false alarms of models, from their stored scores.

    Args:
        manifest: The labelled clips.
        inputs: The cached data, with the background.
        fits: Title and fit of each model, without the majority row.

    Raises:
        RunError: A model was run on other windows.
    """
    background = inputs.background
    if background is None:
        return FalseAlarmTables()
    place = np.flatnonzero(background.parts[inputs.silent] == "test")
    windows, labels = inputs.silent[place], manifest.labels
    ids = background.manifest.clips["id"].iloc[inputs.silent].tolist()
    recordings = background.recordings_of(windows)
    models: list[ModelFalseAlarms] = []
    notes: dict[str, None] = {}
    for title, fit in fits:
        scores = read_scores(fit.folder, ids, len(labels))
        if scores is None:
            trained = fit.about.get("family") in ("frozen", "handcrafted")
            command = "train-heads" if trained else "finetune"
            notes[f"{title} was not run on background; run `{command}` again."] = None
            continue
        decisions = read_decisions(fit.folder, len(labels))
        tested = {key: values[place] for key, values in scores.items()}
        found = FalseAlarmsOfModel(tested, decisions, recordings, labels, manifest.task)
        keys = {name: fit.about[name] for name in KEYS}
        models.append(ModelFalseAlarms(title, [keys | row for row in found.rows()], found.loudest(LOUDEST)))
    return FalseAlarmTables(tuple(models), tuple(labels), tuple(np.array(ids, object)[place]), windows, tuple(notes))
