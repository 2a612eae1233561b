"""Published results: scores from the literature on this corpus, with the differences in protocol."""

from __future__ import annotations

from pipeline.report.analysis.comparisons import compare_published
from pipeline.report.analysis.published_rows import PublishedProtocol, read_published
from pipeline.report.section import Section
from pipeline.report.study import Study


def section(study: Study) -> Section | None:
    """Compare published results with ours; None if there is no row for this corpus or the task is not single-label."""
    if study.manifest.task != "single-label":
        return None
    found = compare_published(study, read_published(study.config.report.published))
    if not found:
        return None
    return Section(
        key="published",
        title="Published results",
        template="published.html",
        context={
            "comparisons": [(one, described(one.row.protocol)) for one in found if one.ours is not None],
            "others": [(one.row, described(one.row.protocol)) for one in found if one.ours is None],
            "holds_out": any(one.ours is not None and int(one.ours.row["n_folds"]) > 2 for one in found),
        },
    )


def described(protocol: PublishedProtocol) -> str:
    """Return a protocol as one line of text."""
    parts = [
        protocol.training if protocol.training != "none" else None,
        protocol.head,
        protocol.pooling and f"{protocol.pooling} pooling",
        protocol.layer and f"{protocol.layer} layer",
        protocol.shots and f"{protocol.shots} clips per class",
        protocol.folds and f"{protocol.folds} folds",
        protocol.figure,
    ]
    return ", ".join(part for part in parts if part) or "not stated"
