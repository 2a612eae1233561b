"""Label efficiency of heads, and learning curves of models trained end to end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.report.analysis.learning import LOSSES, SCORE, Learning, learning_of
from pipeline.report.figure import Axis, Figure, Series
from pipeline.report.section import Section
from pipeline.report.study import Study
from pipeline.results.run_folder import file_name
from pipeline.stages.label_efficiency import CURVE_NUMBERS, curve_cells


def section(study: Study) -> Section | None:
    """Plot scores over training clips and losses over epochs; None if neither was recorded."""
    figures: dict[str, Figure] = {}
    learnt = learning_of(study)
    has_curve = len(study.curve) > 0
    if has_curve:
        figures["label-efficiency"] = label_efficiency(study.curve, study.score, study.metric, study.manifest.labels)
    by_model = {f"loss-{file_name(one.title)}": one for one in learnt}
    figures |= {name: _losses(one) for name, one in by_model.items()}
    if any(SCORE in one.curves for one in learnt):
        figures["validation-accuracy"] = _accuracies(learnt)
    if not figures:
        return None
    cells = curve_cells(study.curve) if has_curve else {}
    return Section(
        key="learning",
        title="Label efficiency and learning curves" if has_curve and learnt else _title(has_curve),
        template="learning.html",
        context={
            "headings": list(cells),
            "rows": list(zip(*cells.values(), strict=True)) if cells else [],
            "numbers": CURVE_NUMBERS,
            "by_model": by_model,
        },
        figures=figures,
    )


def _title(has_curve: bool) -> str:
    return "Label efficiency" if has_curve else "Learning curves"


def label_efficiency(curve: pd.DataFrame, score: str, metric: str, labels: list[str]) -> Figure:
    """Plot the score over training clips per class, one line per backbone and head.

    Args:
        curve: From `pipeline.stages.label_efficiency.curve_table`.
        score: The column of `curve` with the score.
        metric: Display name of the score.
        labels: The classes. `all` is drawn at the mean number of training clips per class.
    """
    series = []
    for (model, head, pooling), part in curve.groupby(["model", "head", "pooling"], sort=False):
        same = curve[(curve["model"] == model) & (curve["head"] == head)]
        title = f"{model} · {head}" + (f" · {pooling}" if same["pooling"].nunique() > 1 else "")
        points = sorted((shots_of(row, len(labels)), str(row["shots"]), row) for row in part.to_dict("records"))
        series.append(
            Series(
                name=title,
                x=[x for x, _, _ in points],
                y=[float(row[score]) for _, _, row in points],
                y_low=[float(row[f"{score}_ci_low"]) for _, _, row in points],
                y_high=[float(row[f"{score}_ci_high"]) for _, _, row in points],
                mark="line",
                of=str(model),
                notes=[
                    f"{title}\n{'all' if shots == 'all' else shots} clips per class"
                    f"{f' (about {x:.3g})' if shots == 'all' else ''}, {row['draws']} draw(s)\n"
                    f"{metric} {row[score]:.3f} ({row[f'{score}_ci_low']:.3f}–{row[f'{score}_ci_high']:.3f})"
                    for x, shots, row in points
                ],
            )
        )
    ends = "; ".join(f"{one.name} from {one.y[0]:.3f} to {one.y[-1]:.3f}" for one in series)
    return Figure(
        alt=f"{metric} over training clips per class, logarithmic: {ends}.",
        x=Axis("training clips per class", log=True),
        y=Axis(f"{metric} (95 % interval)"),
        series=series,
        named=True,
    )


def shots_of(row: Mapping[Any, Any], n_classes: int) -> float:
    """Return the horizontal position of a row of the curve: training clips per class."""
    if row["shots"] != "all":
        return float(str(row["shots"]))
    return float(str(row["n_train"])) / max(1, n_classes)


def _losses(one: Learning) -> Figure:
    """Plot training and validation loss of one model."""
    series = [_line(one, name, shown) for name, shown in LOSSES.items() if name in one.curves]
    ends = "; ".join(f"{own.name} {own.y[0]:.3f} in the first epoch, {own.y[-1]:.3f} in the last" for own in series)
    return Figure(
        alt=f"Loss of {one.title} by epoch, mean of {one.n_fits} fits: {ends}.",
        x=Axis("epoch", whole=True),
        y=Axis("log loss (range of fits)"),
        series=series,
        height=320,
        interval="lowest – highest fit",
    )


def _accuracies(learnt: list[Learning]) -> Figure:
    """Plot the validation accuracy of all models."""
    series = [_line(one, SCORE, one.title) for one in learnt if SCORE in one.curves]
    ends = "; ".join(f"{own.name} reaches {max(map(float, own.y)):.3f}" for own in series)
    return Figure(
        alt=f"Validation accuracy by epoch, mean of fits: {ends}.",
        x=Axis("epoch", whole=True),
        y=Axis("validation accuracy (range of fits)"),
        series=series,
        interval="lowest – highest fit",
        named=True,
    )


def _line(one: Learning, name: str, shown: str) -> Series:
    curve = one.curves[name]
    return Series(
        name=shown,
        x=curve.epochs,
        y=curve.mean,
        y_low=curve.low,
        y_high=curve.high,
        mark="line",
        of=one.model,
        notes=[
            f"{one.title}, epoch {epoch}\n{shown} {value:.3f} ({low:.3f}–{high:.3f})"
            for epoch, value, low, high in zip(curve.epochs, curve.mean, curve.low, curve.high, strict=True)
        ],
    )
