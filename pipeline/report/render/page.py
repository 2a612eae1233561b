"""The page: the sections of one or several experiments, rendered to one self-contained HTML file."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.analysis.clips import clips_json
from pipeline.report.figure import Figure
from pipeline.report.render.drawing import colour_of, plotly_json
from pipeline.report.render.embedded import json_script, plotly_script, policy, scripts, styles
from pipeline.report.render.overview import answers, lines
from pipeline.report.render.pictures import Picture
from pipeline.report.section import Rendered, Section, clips_of
from pipeline.report.study import Study

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='none' stroke="
    "'%230072b2' stroke-width='2' stroke-linecap='round' d='M2 7v2M5 4v8M8 1v14M11 5v6M14 7v2'/%3E%3C/svg%3E"
)


@dataclass(frozen=True)
class Part:
    """One experiment in the page.

    Attributes:
        study: The experiment.
        sections: The sections to show.
        sources: URL of the audio of each clip that the sections can list (`section.clips_of`), or None.
        anchor: Prefix of the ids of its elements; "" if it is the only experiment.
        of_windows: URL of the audio of each window of background that a section lists, or None.
        pictures: Picture of each clip of `sources`, or None; empty for no pictures.
    """

    study: Study
    sections: Sequence[Section]
    sources: Sequence[str | None]
    anchor: str = ""
    of_windows: Mapping[int, str | None] = field(default_factory=dict)
    pictures: Sequence[Picture | None] = ()

    @property
    def every_source(self) -> list[str | None]:
        """The URLs of all audio in the page."""
        return [*self.sources, *self.of_windows.values()]

    @property
    def title(self) -> str:
        """Name of the experiment."""
        return self.study.config.name

    @property
    def figures(self) -> dict[str, Figure]:
        """Its charts by their ids in the page."""
        return {
            self.anchor_of(f"{section.key}-{name}"): figure
            for section in self.sections
            for name, figure in section.figures.items()
        }

    @property
    def rendered(self) -> list[Rendered]:
        """Its sections as HTML."""
        return [render(section, self.study, self.anchor, self.of_windows) for section in self.sections]

    @property
    def clips(self) -> Markup:
        """Its clips and predictions for the page's script.

        Pictures and embedded audio are separate elements, so that they are parsed only when a clip is opened.
        """
        linked = [None if _is_embedded(source) else source for source in self.sources]
        inside = [source if _is_embedded(source) else None for source in self.sources]
        held = clips_json(self.study, clips_of(self.sections), linked)
        for own, model in zip(held["models"], self.study.learned, strict=True):
            own["colour"] = _colour(self.study, str(model.row["model"]))
        clips = json_script(held, class_="study-clips")
        if any(self.pictures):
            clips += json_script(self.pictures, class_="study-pictures")
        return clips + json_script(inside, class_="study-audio") if any(inside) else clips

    def anchor_of(self, name: str) -> str:
        """Return the id of an element of this experiment."""
        return f"{self.anchor}-{name}" if self.anchor else name


def page_of(parts: Sequence[Part], files: Mapping[str, str] | None = None) -> str:
    """Return the HTML of a page with one or several experiments.

    Args:
        parts: The experiments.
        files: Names and contents of the files in the folder of the page, to which it links.
    """
    return (
        environment()
        .get_template("page.html")
        .render(
            parts=parts,
            files=files or {},
            icon=Markup(ICON),
            overview=_overview(parts) if len(parts) > 1 else "",
            title=", ".join(part.title for part in parts),
            policy=policy(),
            styles=[Markup(style) for style in styles()],
            scripts=[Markup(script) for script in scripts()],
            plotly=Markup(plotly_script()),
            made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )


def render(
    section: Section, study: Study, anchor: str = "", of_windows: Mapping[int, str | None] | None = None
) -> Rendered:
    """Render one section to HTML.

    The template can use the section's `context`, `study`, `section`, `audio_of` (URLs of windows of background), and
    the functions `figure(name)`, `anchor(name)` and `colour(backbone)`, which returns the CSS value of a backbone's
    colour.
    """
    context = {
        **section.context,
        "study": study,
        "section": section,
        "audio_of": of_windows or {},
        "anchor": lambda name: f"{anchor}-{name}" if anchor else name,
        "figure": partial(_figure, section, anchor),
        "colour": partial(_colour, study),
    }
    html = environment().get_template(section.template).render(context)
    return Rendered(section, Markup(html))


def _overview(parts: Sequence[Part]) -> Markup:
    """Render the overview of several experiments."""
    studies = [part.study for part in parts]
    rows = lines(studies)
    html = (
        environment()
        .get_template("overview.html")
        .render(
            answers=answers(studies, [part.anchor for part in parts]),
            lines=rows,
            runs=list(dict.fromkeys(row.run for row in rows)),
            families=sorted({row.family for row in rows}),
            heads=sorted({row.head for row in rows if row.head}),
        )
    )
    return Markup(html)


@cache
def environment() -> Environment:
    """Return the Jinja2 environment, which escapes all texts except `Markup` and raises for undefined names."""
    templates = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["json_script"] = json_script
    return templates


def _figure(section: Section, anchor: str, name: str) -> Markup:
    """Render the element of a chart with its data and an accessible table of its values."""
    figure = section.figures[name]
    context: dict[str, Any] = {
        "name": f"{anchor}-{section.key}-{name}" if anchor else f"{section.key}-{name}",
        "figure": figure,
        "data": json_script(plotly_json(figure), class_="figure-data"),
    }
    return Markup(environment().get_template("figure.html").render(context))


def _colour(study: Study, backbone: str) -> str:
    """Return the CSS value of the colour of a backbone or network; neutral for the majority row."""
    order = study.backbones
    return f"var({colour_of(order.index(backbone)) if backbone in order else '--muted'})"


def _is_embedded(source: str | None) -> bool:
    return source is not None and source.startswith("data:")
