"""What a section of the report is, and the report that sections read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from pipeline.report.figure import Figure
from pipeline.report.study import Study


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        key: Its anchor and the stem of its files: letters and hyphens.
        title: Its heading.
        template: The Jinja2 template in `pipeline/report/templates/`, rendered with `context` and `figures`.
        context: What the template shows. Text is escaped there; nothing in it is markup unless made so on purpose.
        figures: By name; drawn by `{{ figure(name) }}` in the template, and saved as `figures/<key>-<name>.svg`
            and `.png`.
        data: JSON values for the section's script, which finds them with `sectionData(key)`.
    """

    key: str
    title: str
    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    data: Any = None


Build = Callable[[Study], Section | None]
"""Makes one section of one experiment; None where the experiment has nothing to show there."""


@dataclass(frozen=True)
class Rendered:
    """A section as it stands in the page."""

    section: Section
    html: Markup


def build(study: Study, builders: Sequence[Build]) -> list[Section]:
    """The sections of an experiment that have something to show, in order."""
    found = [builder(study) for builder in builders]
    return [_coloured(section, study) for section in found if section is not None]


def _coloured(section: Section, study: Study) -> Section:
    """A section whose charts give a backbone or network the colour it has in all others."""
    order = list(dict.fromkeys(str(model.row["model"]) for model in study.models))
    return replace(section, figures={name: replace(own, order=order) for name, own in section.figures.items()})
