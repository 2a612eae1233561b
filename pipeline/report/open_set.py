"""How heads meet sounds of classes that they do not know: the tables of `open_set`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from features.manifest import Manifest
from heads.evaluation.decisions.unknown_classes import unknown_auroc
from heads.splits.targets import targets_of
from pipeline.results.decisions.calibration_rows import estimate_columns
from pipeline.results.decisions.fit_decisions import KEYS
from pipeline.results.fit import Fit
from pipeline.results.table import UNKNOWN_COLUMNS
from pipeline.stages.open_set.scores_table import SCORES, scores_of

MEAN, CLASS = "mean", "class"


@dataclass(frozen=True)
class OpenSetTables:
    """Separation of known from unknown classes; empty unless the experiment sets `open_set`.

    Attributes:
        rows: `open_set.csv`: for each model the mean over classes, then each class that was left out. A score that the
            head lacks is None.
        columns: Columns of the results table by model, head and pooling.
    """

    rows: tuple[dict[str, Any], ...] = ()
    columns: Mapping[tuple[str, str, str], Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame(list(self.rows))


def open_set_tables(fits: Sequence[Fit], manifest: Manifest, group_of: np.ndarray) -> OpenSetTables:
    """Compute the tables of some models, with one model's scores in memory at a time.

    Args:
        fits: From `pipeline.stages.open_set.tasks.read_open_set`.
        manifest: The clips.
        group_of: Group of each manifest row, by which intervals are clustered.

    Raises:
        RunError: A file cannot be read.
    """
    manifest, ids = manifest.without_added_labels, manifest.clips["id"]
    clips = pd.DataFrame({"class": targets_of(manifest).values, "group": group_of}, index=ids) if fits else None
    rows: list[dict[str, Any]] = []
    columns = {}
    for fit in fits:
        assert clips is not None
        own = _rows(fit, manifest.labels, clips)
        rows += own
        means = (own[0][f"auroc_{name}"] for name in SCORES)
        key = str(fit.about["model"]), str(fit.about["head"]), str(fit.about["pooling"])
        columns[key] = dict(zip(UNKNOWN_COLUMNS, means, strict=True))
    return OpenSetTables(tuple(rows), columns)


def _rows(fit: Fit, labels: Sequence[str], clips: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of one model."""
    keys, table = {name: fit.about[name] for name in KEYS}, fit.table()
    scores: dict[str, dict[int, np.ndarray]] = {name: {} for name in SCORES}
    tested = clips
    for number, label in enumerate(labels):
        found, own = scores_of(table, label)
        tested = clips.loc[found]  # the same test clips for every class
        for name, values in own.items():
            scores[name][number] = values
    classes, groups = tested["class"].to_numpy(), tested["group"].to_numpy()
    estimates = {name: unknown_auroc(scores[name], classes, groups) for name in SCORES}
    rows = [keys | {"scope": MEAN, "class": "", "support": len(classes)}]
    rows += [
        keys | {"scope": CLASS, "class": label, "support": int((classes == number).sum())}
        for number, label in enumerate(labels)
        if number in estimates[SCORES[0]][0]
    ]
    numbers = {label: number for number, label in enumerate(labels)}
    for row in rows:
        for name, (each, mean) in estimates.items():
            estimate = mean if row["scope"] == MEAN else each.get(numbers[row["class"]])
            row |= estimate_columns(f"auroc_{name}", estimate)
    return rows
