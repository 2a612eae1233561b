"""Map: embeddings of the test clips in two dimensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from features.labels import Task
from pipeline.report.analysis.embedding_maps.maps import View, projection_of, views
from pipeline.report.analysis.embedding_maps.projection import METHODS, PCA, Projection
from pipeline.report.analysis.samples import sampled_clips
from pipeline.report.figure import Axis, Figure, Series
from pipeline.report.section import Section
from pipeline.report.study import Study
from pipeline.results.run_folder import file_name

MOST_COLOURS = 100  # maps with more classes colour the most frequent ones only
LISTED_CLASSES = 16  # maps with more classes have no legend; the select lists all classes
BINS = 5
EDGE = 1.05


def section(study: Study) -> Section | None:
    """Build one chart per backbone and projection; None if no backbone has pooled embeddings."""
    seen = views(study)
    if not seen:
        return None
    clips = sampled_clips(study)
    rows = study.tested[clips]
    colours = colour_names(study.manifest.clips["label"].iloc[rows].tolist(), study.manifest.task)
    order = study.manifest.labels if study.manifest.task == "single-label" else sorted(set(colours), key=_last_words)
    classes = [name for name in order if name in set(colours)]
    n_classes = len(classes)
    colours, classes = most_frequent(colours, classes)
    figures, charts = {}, []
    for at, (label, view) in enumerate(seen.items()):
        for number, method in enumerate(METHODS):
            name = f"{file_name(label)}-{method.lower()}"
            projection = projection_of(study, label, view, method, clips)
            figures[name] = _figure(projection, label, method, clips, colours, classes)
            charts.append({"name": name, "choice": f"{at} {number}", "what": _what(view, method)})
    context: dict[str, Any] = {
        "backbones": list(seen),
        "methods": METHODS,
        "charts": charts,
        "classes": classes,
        "n_coloured": LISTED_CLASSES - 1 if n_classes > MOST_COLOURS else n_classes,
        "n_classes": n_classes,
        "n_shown": len(clips),
        "n_clips": len(study.tested),
        "task": study.manifest.task,
    }
    return Section(key="map", title="Map", template="map.html", context=context, figures=figures)


def colour_names(labels: Sequence[Any], task: Task) -> list[str]:
    """Return the colour group of each clip.

    It is the class; `several labels` or `no label` in multi-label data; one fifth of the values (quantiles) in
    regression.
    """
    if task == "multi-label":
        return [own[0] if len(own) == 1 else "several labels" if own else "no label" for own in labels]
    if task == "single-label":
        return [str(label) for label in labels]
    values = np.asarray(labels, dtype=np.float64)
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1))
    at = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)
    return [f"{number + 1}: {edges[number]:.3g} to {edges[number + 1]:.3g}" for number in at]


def most_frequent(colours: Sequence[str], classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Keep the most frequent classes if there are more than `MOST_COLOURS`; the others become one group, drawn first.

    Args:
        colours: Colour group of each clip.
        classes: The groups, in the order of the legend.

    Returns:
        The same for fewer groups.
    """
    if len(classes) <= MOST_COLOURS:
        return list(colours), list(classes)
    kept = {name for name, _ in Counter(colours).most_common(LISTED_CLASSES - 1)}
    rest = f"{len(classes) - len(kept)} other classes"
    while rest in classes:  # a class may have this name
        rest += " "
    return [name if name in kept else rest for name in colours], [rest, *(name for name in classes if name in kept)]


def _last_words(name: str) -> tuple[bool, str]:
    """Sort key that puts `several labels` and `no label` last."""
    return name in ("several labels", "no label"), name


def _figure(
    projection: Projection,
    label: str,
    method: str,
    clips: np.ndarray,
    colours: Sequence[str],
    classes: Sequence[str],
) -> Figure:
    points, own = projection.coordinates, np.asarray(colours, dtype=object)
    series = []
    for name in classes:
        at = np.flatnonzero(own == name)
        series.append(Series(name, points[at, 0].tolist(), points[at, 1].tolist(), clips=clips[at].tolist()))
    shares = [f" ({share:.0%} of the variance)".replace("%", " %") for share in projection.explained]
    titles = [f"component {number}{share}" for number, share in enumerate(shares, 1)] or [
        f"{method} {n}" for n in (1, 2)
    ]
    titles += [f"component {len(titles) + 1}"] * (2 - len(titles))
    return Figure(
        alt=f"{method} of the {label} embeddings of {len(points)} clips in {len(classes)} colours. "
        "The table below lists the values with their clips.",
        x=Axis(titles[0], range=(-EDGE, EDGE), ticks=False),
        y=Axis(titles[1], range=(-EDGE, EDGE), ticks=False),
        series=tuple(series),
        height=620,
        legend=len(classes) <= LISTED_CLASSES,
        named=True,
    )


def _what(view: View, method: str) -> str:
    """Describe the embeddings and the projection of a chart."""
    seen = f"Layer {view.layer}, {' and '.join(view.poolings)} pooled: the input of {view.model.title} in most fits."
    if method == PCA:
        return f"{seen} PCA shows the two directions of largest variance after standardising each dimension."
    return f"{seen} t-SNE keeps neighbours together; axes, distances between groups and group sizes have no meaning."
