"""Data: the clips, their split, failed clips, and the findings of an audit."""

from __future__ import annotations

import itertools

import numpy as np

from heads.splits.feasibility import resolve_protocol
from heads.splits.protocol import Splits
from heads.splits.targets import targets_of
from pipeline.report.analysis.corpus import Division, Histogram, audit_notes, divided, durations_of, histogram
from pipeline.report.figure import Axis, Figure, Series
from pipeline.report.section import Section
from pipeline.report.study import Study
from pipeline.results.table import INDEPENDENT, counted

MOST_FOLDS = 20  # more folds get no columns in the table of classes
MOST_CLASSES = 1000  # rows of the table of classes
MOST_FAILURES = 1000  # rows of the table of failed clips


def section(study: Study) -> Section:
    """Build the section about the dataset."""
    manifest, contents = study.manifest, study.inputs.contents
    splits = study.splits
    targets = targets_of(manifest)
    lengths, division = durations_of(contents), divided(splits, targets) if splits else None
    figures = {}
    if (bins := histogram(lengths)) is not None:
        figures["durations"] = _bars(bins, "clip length (s)", "Lengths of the clips")
    if manifest.task == "regression" and (bins := histogram(targets.values)) is not None:
        figures["values"] = _bars(bins, "label", "Labels of the clips")
    clips = manifest.clips
    rates = sorted({content.sample_rate for content in contents if content.frames})
    facts = {
        "clips": f"{len(manifest):,}",
        "chosen by": "; ".join(manifest.choices),
        "task": manifest.task,
        "classes": f"{len(targets.names):,}" if targets.names else None,
        "groups": f"{clips['group'].nunique():,}" if "group" in clips else f"None given. {INDEPENDENT}",
        "protocol": resolve_protocol(manifest, study.config.protocol),
        "tested": _tested(division.are_folds, division.totals) if division else None,
        "absent classes": _absent(splits),
        "audio": _audio(lengths),
        "sample rate": ", ".join(f"{rate:,} Hz" for rate in rates),
        "failed": counted(len(study.failures), "clip"),
    }
    return Section(
        key="data",
        title="Data",
        template="data.html",
        context={
            "facts": {name: fact for name, fact in facts.items() if fact},
            "division": division,
            "shows_parts": division is not None and len(division.parts) <= MOST_FOLDS,
            "classes": _listed(division),
            "failures": dict(itertools.islice(study.failures.items(), MOST_FAILURES)),
            "n_failures": len(study.failures),
            "audit": audit_notes(study, splits),
            "audit_command": study.config.command("datasets audit"),
        },
        figures=figures,
    )


def _listed(division: Division | None) -> list[tuple[str, list[int]]]:
    """Return the clips of each class; of the largest classes if there are more than `MOST_CLASSES`."""
    if division is None or division.counts is None:
        return []
    if len(division.counts) <= MOST_CLASSES:
        return list(division.counts.items())
    return sorted(division.counts.items(), key=lambda one: -sum(one[1]))[:MOST_CLASSES]


def _tested(are_folds: bool, totals: list[int]) -> str:
    if not are_folds:
        return f"{totals[-1]:,} clips, one split"
    low, high = min(totals), max(totals)
    return f"{sum(totals):,} clips in {len(totals)} folds of {low:,}" + (f" to {high:,}" if high > low else "")


def _absent(splits: Splits | None) -> str | None:
    """Return how many test clips have a class without training clips; None if there are none."""
    if splits is None or not splits.n_absent:
        return None
    return f"{counted(splits.n_absent, 'test clip')} of a class without a training clip in the fold, counted as errors"


def _audio(lengths: np.ndarray) -> str | None:
    """Return the total, range and median of the clip lengths as text; None without readable clips."""
    if not len(lengths):
        return None
    total = float(lengths.sum())
    size, unit = (3600, "h") if total >= 3600 else (60, "min") if total >= 60 else (1, "s")
    shown = f"{total / size:.1f} {unit}"
    low, middle, high = float(lengths.min()), float(np.median(lengths)), float(lengths.max())
    if histogram(lengths) is None:
        return f"{shown}, every clip {middle:.2f} s"
    return f"{shown}; clips of {low:.2f} to {high:.2f} s, median {middle:.2f} s"


def _bars(bins: Histogram, title: str, what: str) -> Figure:
    fullest = max(range(len(bins.counts)), key=bins.counts.__getitem__)
    return Figure(
        alt=f"{what}, {sum(bins.counts)} in total; most around {bins.middles[fullest]:.3g} ({bins.counts[fullest]}).",
        x=Axis(title),
        y=Axis("clips"),
        series=[Series("clips", bins.middles, bins.counts, mark="bars")],
        height=280,
    )
