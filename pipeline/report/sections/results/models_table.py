"""The results table of the page: one row per model, the columns that decide first and the others on demand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heads.evaluation.scores import SCORES
from pipeline.report.study import Study, StudyModel
from pipeline.results.table import NUMBERS, headings, shown_rows, shown_scores

BALANCED = "balanced_accuracy"
STEP = 0.05  # the scale of the interval bars starts and ends at multiples of this
LATENCY = "latency_ms"
FIRST_SCORES = 3  # scores of a task among the first columns
LOWER_IS_BETTER = frozenset(
    {"feature_dim", "train_seconds", "size_mb", LATENCY}
    | {score.column for scores in SCORES.values() for score in scores if score.column and not score.higher_is_better}
)


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        key: Its key in `pipeline.results.table.headings`.
        heading: Its heading.
        is_number: Whether its cells are right-aligned.
        is_more: Whether it is shown on demand only.
        is_lower_better: Whether sorting starts with the lowest value.
    """

    key: str
    heading: str
    is_number: bool
    is_more: bool
    is_lower_better: bool


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes:
        column: Its column.
        text: The text shown.
        sort: Sort key; None sorts by the text.
    """

    column: Column
    text: str
    sort: float | str | None


@dataclass(frozen=True)
class Bar:
    """An interval drawn to scale: its ends and the score, in percent of the scale."""

    low: float
    high: float
    at: float


@dataclass(frozen=True)
class Row:
    """One model in the table.

    Attributes:
        model: The model.
        head: Its head, with the pooling if two titles would be equal; "" for a model trained end to end.
        cells: One cell per column after the first, which names the model.
        bar: Its interval; None if it is not finite.
        mark: `best`, `tied` or empty.
    """

    model: StudyModel
    head: str
    cells: tuple[Cell, ...]
    bar: Bar | None
    mark: str


@dataclass(frozen=True)
class ModelsTable:
    """The table.

    Attributes:
        columns: The columns after the first, which names the model.
        interval: Key of the column with the interval, which a bar follows.
        scale: Ends of the bars' scale, as texts.
        rows: The models, best first.
    """

    columns: tuple[Column, ...]
    interval: str
    scale: tuple[str, str]
    rows: tuple[Row, ...]


def models_table(study: Study) -> ModelsTable:
    """Return the results table of an experiment, with the numbers of `results.md`."""
    columns, scale = columns_of(study), _scale(study)
    names = headings(study.table)
    texts = [dict(zip(names, line, strict=True)) for line in shown_rows(study.table)]
    return ModelsTable(
        columns,
        "value_interval" if "metric" in study.table else "interval",
        (f"{scale[0]:.2f}", f"{scale[1]:.2f}"),
        tuple(_row(model, line, columns, scale) for model, line in zip(study.models, texts, strict=True)),
    )


def columns_of(study: Study) -> tuple[Column, ...]:
    """Return the columns after the first: score, interval, `best`, other scores, latency, then the details."""
    names = headings(study.table)
    del names["model"], names["head"]
    if BALANCED in study.table:
        names[BALANCED] = "balanced accuracy"
    score = "value" if "value" in names else "accuracy"
    scores = [key for key in shown_scores(study.table) if key in names][:FIRST_SCORES]
    first = dict.fromkeys(
        (score, "value_interval", "interval", "tied", *scores, *([LATENCY] if LATENCY in names else []))
    )
    first = {key: None for key in first if key in names}
    named = {"family": "family", **names}
    return tuple(
        Column(
            key,
            named[key],
            is_number=named[key] in NUMBERS or key in (BALANCED, LATENCY),
            is_more=key not in first,
            is_lower_better=key in LOWER_IS_BETTER,
        )
        for key in dict.fromkeys((*first, *named))
    )


def _row(model: StudyModel, texts: Mapping[str, str], columns: Sequence[Column], scale: tuple[float, float]) -> Row:
    key = "value" if model.row.get("metric") else "accuracy"
    low, at, high = (float(model.row[name]) for name in (f"{key}_ci_low", key, f"{key}_ci_high"))
    bar = Bar(*(100 * (end - scale[0]) / (scale[1] - scale[0]) for end in (low, high, at)))
    texts = {"family": str(model.row["family"]), **texts}
    if any(column.key == BALANCED for column in columns):
        texts[BALANCED] = f"{model.row[BALANCED]:.3f}"
    return Row(
        model=model,
        head=model.head_title,
        cells=tuple(Cell(column, texts[column.key], _sort(model.row, column.key)) for column in columns),
        bar=bar if all(map(math.isfinite, (low, at, high))) else None,
        mark=texts["tied"],
    )


def _sort(row: Mapping[str, Any], name: str) -> float | str | None:
    """Return the sort key of a cell; None sorts by its text."""
    if name in ("interval", "value_interval"):
        name = "accuracy_ci_low" if name == "interval" else "value_ci_low"
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else ""


def _scale(study: Study) -> tuple[float, float]:
    """Return the ends of the bars' scale, just wide enough for every interval."""
    key = "value" if study.models[0].row.get("metric") else "accuracy"
    ends = [float(model.row[f"{key}_ci_{end}"]) for model in study.models for end in ("low", "high")]
    known = [end for end in ends if math.isfinite(end)] or [0.0, 1.0]
    low, high = math.floor(min(known) / STEP) * STEP, math.ceil(max(known) / STEP) * STEP
    return low, high if high > low else low + STEP
