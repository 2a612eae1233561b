"""Layers: scores by layer of the backbone, and the learned weights of weighted sums."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.layer_curves import LayerCurve, score_curves, validation_curves, weight_curves
from pipeline.report.figure import Axis, Figure, Series
from pipeline.report.section import Section
from pipeline.report.study import Study


def section(study: Study) -> Section | None:
    """Plot scores and learned weights by layer; None if every backbone has a single layer."""
    scores, weights = score_curves(study), weight_curves(study)
    losses = validation_curves(study, without=[curve.title for curve in scores])
    figures = {}
    if scores:
        figures["score"] = _figure(scores, study.metric, f"{study.metric} (95 % interval)")
    if losses:
        figures["validation"] = _figure(losses, "validation loss", "validation loss, mean of folds")
    if weights:
        figures["weights"] = _weights(weights)
    if not figures:
        return None
    return Section(
        key="layers",
        title="Layers",
        template="layers.html",
        context={"metric": study.metric, "best": [best_layer(curve) for curve in scores]},
        figures=figures,
    )


def best_layer(curve: LayerCurve) -> dict[str, object]:
    """Return the layer of a curve with the highest score, and the score of the last layer."""
    at = max(range(len(curve.layers)), key=lambda position: curve.values[position])
    return {
        "title": curve.title,
        "layer": curve.layers[at],
        "score": curve.values[at],
        "low": curve.low[at],
        "high": curve.high[at],
        "last": curve.layers[-1],
        "last_score": curve.values[-1],
        "chosen": [(layer, count) for layer, count in zip(curve.layers, curve.chosen, strict=True) if count],
        "n_fits": curve.n_fits,
    }


def _figure(curves: Sequence[LayerCurve], what: str, title: str) -> Figure:
    return Figure(
        alt=f"{what} by layer of the backbone: {'; '.join(map(_summary, curves))}.",
        x=_axis(curves),
        y=Axis(title),
        series=[_line(curve, what) for curve in curves],
        named=True,
    )


def _weights(curves: Sequence[LayerCurve]) -> Figure:
    """Plot the learned weights, with a line at equal weights if all models sum the same number of layers."""
    series = [_line(curve, "weight") for curve in curves]
    if len({len(curve.layers) for curve in curves}) == 1:
        layers = curves[0].layers
        even = Series("equal weights", [layers[0], layers[-1]], [1 / len(layers)] * 2, mark="line", dashed=True)
        series.insert(0, even)
    return Figure(
        alt=f"Learned weight of each layer in a weighted sum: {'; '.join(map(_summary, curves))}.",
        x=_axis(curves),
        y=Axis("weight (mean, range of fits)", range=(0, 1.05 * max(max(c.high) for c in curves))),
        series=series,
        interval="lowest – highest fit",
        named=True,
    )


def _axis(curves: Sequence[LayerCurve]) -> Axis:
    lowest, highest = min(curve.layers[0] for curve in curves), max(curve.layers[-1] for curve in curves)
    margin = 0.04 * max(highest - lowest, 1)
    return Axis("layer", whole=True, range=(lowest - margin, highest + margin))


def _line(curve: LayerCurve, what: str) -> Series:
    chosen = [f"\nchosen by {count} of {curve.n_fits} fits" for count in curve.chosen] or [""] * len(curve.layers)
    return Series(
        name=curve.title,
        x=curve.layers,
        y=curve.values,
        y_low=curve.low,
        y_high=curve.high,
        mark="line",
        of=curve.model,
        notes=[
            f"{curve.title}, layer {layer}\n{what} {value:.3f}{more}"
            for layer, value, more in zip(curve.layers, curve.values, chosen, strict=True)
        ],
    )


def _summary(curve: LayerCurve) -> str:
    """Describe a curve in a few words."""
    low, high = min(curve.values), max(curve.values)
    at = {value: layer for layer, value in zip(reversed(curve.layers), reversed(curve.values), strict=True)}
    return f"{curve.title} from {low:.3f} (layer {at[low]}) to {high:.3f} (layer {at[high]})"
