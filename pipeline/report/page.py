"""The page: sections of one or several experiments rendered into one self-contained HTML file."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.clips import clips_json
from pipeline.report.drawing import plotly_json
from pipeline.report.embedded import json_script, plotly_script, policy, scripts, styles
from pipeline.report.section import Build, Rendered, Section, build
from pipeline.report.sections import SECTIONS
from pipeline.report.study import Study


@dataclass(frozen=True)
class Part:
    """One experiment in the page.

    Attributes:
        study: The experiment.
        sources: Of each tested clip, the URL of its audio, or None.
        anchor: What the ids of its elements begin with; "" where it is the only one.
        sections: Its rendered sections.
    """

    study: Study
    sources: Sequence[str | None]
    anchor: str
    sections: Sequence[Rendered]

    @property
    def title(self) -> str:
        """What the experiment is called."""
        return self.study.config.name

    @property
    def clips(self) -> Markup:
        """Its clips and predictions, for the page's script."""
        return json_script(clips_json(self.study, self.sources), class_="study-clips")

    def anchor_of(self, name: str) -> str:
        """The id of an element of this part."""
        return f"{self.anchor}-{name}" if self.anchor else name


def page_of(parts: Sequence[tuple[Study, Sequence[str | None]]], builders: Sequence[Build] = SECTIONS) -> str:
    """The page's HTML.

    Args:
        parts: Each experiment with the audio URL of each of its tested clips (`clips.tested_rows`).
        builders: What makes its sections.
    """
    names = anchors([study.config.name for study, _ in parts])
    shown = [
        Part(study, sources, anchor, [render(section, study, anchor) for section in build(study, builders)])
        for (study, sources), anchor in zip(parts, names, strict=True)
    ]
    return (
        environment()
        .get_template("page.html")
        .render(
            parts=shown,
            title=", ".join(part.title for part in shown),
            policy=policy(),
            styles=[Markup(style) for style in styles()],
            scripts=[Markup(script) for script in scripts()],
            plotly=Markup(plotly_script()),
            made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def render(section: Section, study: Study, anchor: str = "") -> Rendered:
    """One section as HTML.

    Its template sees the section's `context`, `study`, `section`, and the functions `figure(name)` and `anchor(name)`.
    """
    context = {
        **section.context,
        "study": study,
        "section": section,
        "anchor": lambda name: f"{anchor}-{name}" if anchor else name,
        "figure": partial(_figure, section),
    }
    html = environment().get_template(section.template).render(context)
    return Rendered(section, Markup(html))


def anchors(names: Sequence[str]) -> list[str]:
    """A prefix for the ids of each experiment; none where there is only one."""
    return [""] if len(names) == 1 else [f"study-{number}" for number in range(1, len(names) + 1)]


@cache
def environment() -> Environment:
    """Templates, with everything escaped that is not markup already and no name taken for granted."""
    made = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["json_script"] = json_script
    return made


def _figure(section: Section, name: str) -> Markup:
    """A chart's place in the page, its data, and the values as a table for who cannot see or point."""
    figure = section.figures[name]
    context: dict[str, Any] = {
        "name": f"{section.key}-{name}",
        "figure": figure,
        "data": json_script(plotly_json(figure), class_="figure-data"),
        "has_clips": any(len(series.clips) for series in figure.series),
    }
    return Markup(environment().get_template("figure.html").render(context))
