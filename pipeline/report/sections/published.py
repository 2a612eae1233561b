"""Against published numbers: what others report on this corpus, and in words how far the two compare."""

from __future__ import annotations

from pipeline.report.analysis.comparisons import compare_published
from pipeline.report.analysis.published_rows import PublishedProtocol, read_published
from pipeline.report.section import Section
from pipeline.report.study import Study


def section(study: Study) -> Section | None:
    """Published figures beside ours; None where no row is of this corpus, or scores are not accuracies."""
    if study.manifest.task != "single-label":
        return None
    found = compare_published(study, read_published(study.config.report.published))
    if not found:
        return None
    return Section(
        key="published",
        title="Against published numbers",
        template="published.html",
        context={
            "comparisons": [(one, described(one.row.protocol)) for one in found if one.ours is not None],
            "others": [(one.row, described(one.row.protocol)) for one in found if one.ours is None],
            "holds_out": any(one.ours is not None and int(one.ours.row["n_folds"]) > 2 for one in found),
        },
    )


def described(protocol: PublishedProtocol) -> str:
    """A protocol in a line."""
    parts = [
        protocol.training if protocol.training != "none" else None,
        protocol.head,
        protocol.pooling and f"{protocol.pooling} pooling",
        protocol.layer and f"{protocol.layer} layer",
        protocol.shots and f"{protocol.shots} clips per class",
        protocol.folds and f"{protocol.folds} folds",
        protocol.figure,
    ]
    return ", ".join(part for part in parts if part) or "not said"
