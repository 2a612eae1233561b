"""Pairs: the difference of every two models with its interval and p-value, as a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heads.evaluation.statistics import ALPHA
from pipeline.report.section import Section
from pipeline.report.study import Study, StudyModel

MOST_MODELS = 16  # of the best models; `comparisons.csv` has all


@dataclass(frozen=True)
class Pair:
    """One cell of the matrix: the score of the row's model minus that of the column's model.

    Attributes:
        difference: The difference, with its sign.
        interval: Its 95 % interval; "" if it is not known, because there is one group.
        p_value: The corrected p-value.
        outcome: `better`, `worse` or `tied`.
        sentence: The cell in words.
    """

    difference: str
    interval: str
    p_value: str
    outcome: str
    sentence: str


def section(study: Study) -> Section | None:
    """Build the matrix of the best models and the majority row; None for a single model."""
    if len(study.models) < 2:
        return None
    learned = study.learned[: MOST_MODELS - 1 if study.baseline else MOST_MODELS]
    shown = (*learned, study.baseline) if study.baseline else learned
    return Section(
        key="pairs",
        title="Pairs of models",
        template="pairs.html",
        context={
            "metric": study.metric,
            "alpha": ALPHA,
            "models": shown,
            "cells": [_line(model, shown) for model in shown],
            "n_left_out": len(study.models) - len(shown),
        },
    )


def _line(model: StudyModel, shown: Sequence[StudyModel]) -> list[Pair | None]:
    found = {_key(pair): pair for pair in model.details["pairs"]}
    return [None if other is model else _pair(model, other, found[_key(other.row)]) for other in shown]


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("model", "head", "pooling"))


def _pair(model: StudyModel, other: StudyModel, pair: Mapping[str, Any]) -> Pair:
    p_value = pair["p_value"]
    significance = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    known = pair["ci_low"] is not None
    interval = f"{pair['ci_low']:+.3f} to {pair['ci_high']:+.3f}" if known else ""
    outcome = "tied" if p_value > ALPHA else "better" if pair["difference"] > 0 else "worse"
    words = {"tied": "not significantly different from", "better": "better than", "worse": "worse than"}[outcome]
    return Pair(
        difference=f"{pair['difference']:+.3f}",
        interval=interval,
        p_value=significance,
        outcome=outcome,
        sentence=f"{model.title} is {words} {other.title}: difference {pair['difference']:+.3f}"
        f"{f', 95 % interval {interval}' if known else ''}, {significance}",
    )
