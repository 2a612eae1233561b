"""The sections of the report, in the order of the page."""

from __future__ import annotations

from pipeline.report.section import Build
from pipeline.report.sections import (
    classes,
    cost,
    data,
    embedding_map,
    false_alarms,
    hard_clips,
    layers,
    learning,
    provenance,
    published,
)
from pipeline.report.sections.decisions import calibration, thresholds, unknown_sounds
from pipeline.report.sections.results import answer, pairs

SECTIONS: tuple[Build, ...] = (
    answer.section,
    pairs.section,
    cost.section,
    layers.section,
    learning.section,
    classes.section,
    calibration.section,
    thresholds.section,
    unknown_sounds.section,
    false_alarms.section,
    hard_clips.section,
    embedding_map.section,
    published.section,
    data.section,
    provenance.section,
)
