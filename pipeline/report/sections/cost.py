"""Cost against accuracy: scores over one cost at a time, which the reader chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.report.analysis.costs import Cost, conditions_of, costs_of, pareto_front
from pipeline.report.figure import Axis, Figure, Series
from pipeline.report.section import Section
from pipeline.report.study import Study

FRONT = "Pareto front"
LABEL_WIDTH, LABEL_HEIGHT = 0.3, 0.06  # size of a label as a fraction of the chart


@dataclass(frozen=True)
class Measure:
    """One cost that the chart can show.

    Attributes:
        key: Name of the figure.
        label: Its name in the list of choices.
        title: Title of the axis, with the unit.
        of: Returns the cost of a model; None or 0 if it has none.
        note: What the cost includes.
        frozen_only: Whether only models on frozen backbones have it; it is then shown for at least two backbones.
        on_cpu: Whether it was measured on the CPU, whichever device trained the model.
    """

    key: str
    label: str
    title: str
    of: Callable[[Cost], float | None]
    note: str
    frozen_only: bool = False
    on_cpu: bool = False


MEASURES = (
    Measure(
        "seconds",
        "time of the experiment",
        "time from audio to test predictions (s)",
        lambda cost: cost.total_s,
        "Time of the whole experiment: reading and embedding every clip once, then training over all folds, seeds and "
        "candidates of the grid. Models on the same backbone share its extraction.",
    ),
    Measure(
        "clip",
        "time per clip, frozen backbones",
        "time to embed one clip (s)",
        lambda cost: cost.clip_s,
        "Time per additional clip once the head is trained. The time of the heads is negligible.",
        frozen_only=True,
    ),
    Measure(
        "latency",
        "time of one clip on the CPU",
        "time from one clip to its scores (ms)",
        lambda cost: cost.latency_ms,
        "Median time from the samples of one clip in memory to its scores, one clip at a time, with one fit. "
        "`audioheads bench MODEL` measures memory and the ONNX graph, too.",
        on_cpu=True,
    ),
    Measure(
        "size",
        "size on disk",
        "size on disk (MB)",
        lambda cost: cost.size_mb,
        "Files of the backbone and of one head, as an exported folder has them.",
        on_cpu=True,
    ),
    Measure(
        "parameters",
        "parameters",
        "parameters",
        lambda cost: cost.parameters,
        "Parameters of backbone and head together, including frozen ones.",
    ),
)


def section(study: Study) -> Section | None:
    """Plot the score of each model over its costs; None if no cost was recorded."""
    costs, metric = costs_of(study), study.metric
    conditions, figures = conditions_of(study), {}
    for measure in MEASURES:
        shown = [cost for cost in costs if cost.frozen] if measure.frozen_only else costs
        if measure.on_cpu:
            shown = [replace(cost, device="") for cost in shown]
        if not measure.frozen_only or len({cost.model for cost in shown}) > 1:
            figures[measure.key] = _scatter(shown, measure.of, measure.title, metric)
    known = {name: figure for name, figure in figures.items() if figure is not None}
    if not known:
        return None
    return Section(
        key="cost",
        title=f"Cost against {metric}",
        template="cost.html",
        context={
            "metric": metric,
            "measures": [measure for measure in MEASURES if measure.key in known],
            "costs": costs,
            "conditions": conditions,
            "devices": sorted({cost.device for cost in costs if cost.device}),
            "unknown": [cost.title for cost in costs if cost.parameters is None],
            "without": [cost.title for cost in costs if cost.parameters == 0],
        },
        figures=known,
    )


def _scatter(costs: Sequence[Cost], of: Callable[[Cost], float | None], title: str, metric: str) -> Figure | None:
    """Plot scores over one cost, one series per backbone or network; None if no model has this cost."""
    shown = [(cost, value) for cost in costs if (value := of(cost))]
    if not shown:
        return None
    by_device: dict[str, list[tuple[Cost, float]]] = {}
    for cost, value in shown:
        by_device.setdefault(cost.device, []).append((cost, value))
    fronts = {
        device: [own[at] for at in pareto_front([(value, cost.score) for cost, value in own])]
        for device, own in by_device.items()
    }
    labelled = _apart([pair for front in fronts.values() for pair in front])
    most = max(value for _, value in shown)
    series = [
        _steps(front, most, FRONT if len(fronts) == 1 else f"{FRONT}, {device or 'device unknown'}")
        for device, front in fronts.items()
    ]
    for model, untrained in dict.fromkeys((cost.model, cost.untrained) for cost, _ in shown):
        own = [(cost, value) for cost, value in shown if cost.model == model]
        series.append(
            Series(
                name=f"{model} (untrained)" if untrained else model,
                x=[value for _, value in own],
                y=[cost.score for cost, _ in own],
                y_low=[cost.low for cost, _ in own],
                y_high=[cost.high for cost, _ in own],
                of=model,
                labels=[cost.title if cost.title in labelled else "" for cost, _ in own],
                notes=[
                    f"{cost.title}\n{metric} {cost.score:.3f} ({cost.low:.3f}–{cost.high:.3f})\n{title}: {value:.3g}"
                    for cost, value in own
                ],
            )
        )
    names = ", ".join(cost.title for front in fronts.values() for cost, _ in front)
    return Figure(
        alt=f"{metric} of {len(shown)} models over {title}, logarithmic. Pareto front: {names}.",
        x=Axis(title, log=True),
        y=Axis(f"{metric} (95 % interval)"),
        series=series,
    )


def _apart(pairs: Sequence[tuple[Cost, float]]) -> set[str]:
    """Return the titles of the points to label, so that labels do not overlap. Higher scores take precedence."""
    logs, scores = [math.log(value) for _, value in pairs], [cost.score for cost, _ in pairs]
    width, height = max(logs) - min(logs) or 1.0, max(scores) - min(scores) or 1.0
    kept: list[tuple[Cost, float]] = []
    for pair in sorted(pairs, key=lambda one: -one[0].score):
        near = any(
            abs(math.log(pair[1] / other[1])) < LABEL_WIDTH * width
            and abs(pair[0].score - other[0].score) < LABEL_HEIGHT * height
            for other in kept
        )
        if not near:
            kept.append(pair)
    return {cost.title for cost, _ in kept}


def _steps(front: Sequence[tuple[Cost, float]], most: float, name: str) -> Series:
    """Return the front as a step line up to the cost `most`: the best score for at most that cost."""
    x, y = [front[0][1]], [front[0][0].score]
    for cost, value in front[1:]:
        x += [value, value]
        y += [y[-1], cost.score]
    return Series(name=name, x=[*x, most], y=[*y, y[-1]], mark="line", dashed=True)
