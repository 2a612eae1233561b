"""Answer first: one sentence, then the results table."""

from __future__ import annotations

from pipeline.report.section import Section
from pipeline.report.study import Study
from pipeline.results import LEGEND, NUMBERS, headings, shown_rows


def section(study: Study) -> Section:
    """The results table."""
    return Section(
        key="answer",
        title="Answer",
        template="answer.html",
        context={
            "headings": list(headings(study.table).values()),
            "rows": shown_rows(study.table),
            "numbers": NUMBERS,
            "legend": LEGEND,
        },
    )
