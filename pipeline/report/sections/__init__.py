"""The sections of the report, in the order a reader asks."""

from __future__ import annotations

from pipeline.report.section import Build
from pipeline.report.sections import answer, classes

SECTIONS: tuple[Build, ...] = (answer.section, classes.section)
