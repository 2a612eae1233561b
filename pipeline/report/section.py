"""The sections of the report page."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.report.figure import Figure
from pipeline.report.study import Study


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        key: Its anchor and the prefix of its file names: letters and hyphens.
        title: Its heading.
        template: The Jinja2 template in `pipeline/report/templates/`, rendered with `context` and `figures`.
        context: Values for the template, which escapes every text that is not explicitly `Markup`.
        figures: Charts by name. The template draws them with `{{ figure(name) }}`. They are also saved as
            `figures/<key>-<name>.svg` and `.png`.
        data: JSON values for the section's script, which reads them with `report.data(key, element)`.
        clips: Clips that the section can list, in addition to those in its figures, by their number in the page. Only
            clips of some section are in the page.
        windows: Rows of `Background` that the section lists. The template gets the URL of each in `audio_of`.
    """

    key: str
    title: str
    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    data: Any = None
    clips: Collection[int] = ()
    windows: Collection[int] = ()


Build = Callable[[Study], Section | None]
"""Builds a section for an experiment; returns None if the experiment has no data for it."""


@dataclass(frozen=True)
class Rendered:
    """A section with its HTML."""

    section: Section
    html: Markup


def clips_of(sections: Sequence[Section]) -> np.ndarray:
    """Return the numbers of all clips that some section can list, ascending."""
    found: set[int] = set()
    for section in sections:
        found.update(section.clips)
        for figure in section.figures.values():
            found.update(clip for series in figure.series for clip in series.clips)
    return np.array(sorted(found), dtype=np.int64)


def windows_of(sections: Sequence[Section]) -> list[int]:
    """Return the windows of background that some section lists, ascending."""
    return sorted({window for section in sections for window in section.windows})


def build(study: Study, builders: Sequence[Build]) -> list[Section]:
    """Return the sections of an experiment in the order of `builders`, without those that have no data."""
    found = [builder(study) for builder in builders]
    return [_coloured(section, study) for section in found if section is not None]


def _coloured(section: Section, study: Study) -> Section:
    """Give the charts of a section the same order of colours as all other charts of the experiment."""
    figures = {name: replace(own, order=study.backbones) for name, own in section.figures.items()}
    return replace(section, figures=figures)
