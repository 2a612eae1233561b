"""Values: predicted against true values, for regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.analysis.samples import sampled_clips
from pipeline.report.figure import Axis, Figure, Series
from pipeline.report.outcomes.outcomes import Outcomes
from pipeline.report.section import Section
from pipeline.report.study import Study, StudyModel


def section(study: Study) -> Section:
    """Plot predicted against true values, one chart per model."""
    clips = sampled_clips(study)
    ids = study.manifest.clips["id"].iloc[study.tested[clips]].tolist()
    figures = {
        f"values-{number}": _scatter(model, model.outcomes, clips, ids) for number, model in enumerate(study.learned, 1)
    }
    return Section(
        key="classes",
        title="Values",
        template="values.html",
        context={
            "models": [model.title for model in study.learned],
            "charts": list(figures),
            "n_shown": len(clips),
            "n_clips": len(study.tested),
        },
        figures=figures,
    )


def _scatter(model: StudyModel, found: Outcomes, clips: np.ndarray, ids: Sequence[str]) -> Figure:
    predicted, truth = found.predicted(clips).mean(axis=0), found.targets(clips)
    low, high = float(min(predicted.min(), truth.min())), float(max(predicted.max(), truth.max()))
    notes = [
        f"{clip}\ntrue {true:.4g}, predicted {own:.4g}" for clip, true, own in zip(ids, truth, predicted, strict=True)
    ]
    return Figure(
        alt=f"Predicted against true values of {len(ids)} clips, {model.title}. Both are equal on the dashed line.",
        x=Axis("true value"),
        y=Axis("predicted value, mean of seeds" if found.n_repetitions > 1 else "predicted value"),
        series=(
            Series("", [low, high], [low, high], mark="line", dashed=True),
            Series(
                model.title,
                truth.tolist(),
                predicted.tolist(),
                notes=notes,
                clips=clips.tolist(),
                of=str(model.row["model"]),
            ),
        ),
    )
