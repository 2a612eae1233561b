"""The sections of the report, in the order of the page."""

from __future__ import annotations

from pipeline.report.section import Build
from pipeline.report.sections import (
    answer,
    classes,
    cost,
    data,
    embedding_map,
    hard_clips,
    layers,
    learning,
    pairs,
    provenance,
    published,
)

SECTIONS: tuple[Build, ...] = (
    answer.section,
    pairs.section,
    cost.section,
    layers.section,
    learning.section,
    classes.section,
    hard_clips.section,
    embedding_map.section,
    published.section,
    data.section,
    provenance.section,
)
