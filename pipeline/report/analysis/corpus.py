"""Facts about the clips: their number, lengths and split, and the findings of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from features.store.content_keys import ClipContent
from heads.splits.feasibility import resolve_protocol
from heads.splits.protocol import Splits
from heads.splits.targets import Targets
from pipeline.audit.file_findings import plain_findings, worst_first
from pipeline.audit.run import AUDIT_FILE, FORMAT, FORMAT_VERSION
from pipeline.report.study import Study
from pipeline.results.run_folder import read_json

MOST_BINS = 30
ALIKE_S = 0.01  # no histogram is drawn for values with a smaller range


@dataclass(frozen=True)
class Histogram:
    """A histogram with B bins of equal width.

    Attributes:
        middles: Centres of the bins, shape (B,).
        counts: Values per bin, shape (B,).
    """

    middles: list[float]
    counts: list[int]


@dataclass(frozen=True)
class Division:
    """Clips of each class in each part.

    Attributes:
        parts: `train`, `valid`, `test` for a single split; otherwise the test folds.
        counts: One count per part for each class; None for regression.
        totals: Clips per part.
        are_folds: Whether the parts are test folds.
    """

    parts: list[str]
    counts: dict[str, list[int]] | None
    totals: list[int]
    are_folds: bool


@dataclass(frozen=True)
class AuditNotes:
    """Findings of an audit.

    Attributes:
        findings: Findings with `severity`, `message` and `count`, worst first.
        near_duplicates: Whether the audit searched for near-duplicate clips.
        created_utc: When `datasets audit` ran; None if the report computed the findings itself.
    """

    findings: list[Mapping[str, Any]]
    near_duplicates: bool
    created_utc: str | None


def durations_of(contents: Sequence[ClipContent]) -> np.ndarray:
    """Return the lengths of the readable clips in seconds."""
    return np.array([content.duration_s for content in contents if content.frames])


def histogram(values: np.ndarray) -> Histogram | None:
    """Return the counts in bins of equal width; None if all values are (nearly) equal."""
    if len(values) < 2 or np.ptp(values) < ALIKE_S:
        return None
    edges = np.histogram_bin_edges(values, "auto")
    if len(edges) - 1 > MOST_BINS:
        edges = np.linspace(values.min(), values.max(), MOST_BINS + 1)
    counts, edges = np.histogram(values, edges)
    return Histogram(((edges[:-1] + edges[1:]) / 2).tolist(), counts.tolist())


def divided(splits: Splits, targets: Targets) -> Division:
    """Count the clips of each class by side of a single split, otherwise by test fold of the first draw."""
    first = [split for split in splits.splits if split.draw == 0]
    if len(first) == 1:
        sides = {"train": first[0].train, "valid": first[0].valid, "test": first[0].test}
    else:
        sides = {str(split.fold): split.test for split in first}
    columns = [_per_class(targets, rows) for rows in sides.values()]
    counts = {name: [column[number] for column in columns] for number, name in enumerate(targets.names)}
    totals = [len(rows) for rows in sides.values()]
    return Division(list(sides), counts if targets.names else None, totals, len(first) > 1)


def _per_class(targets: Targets, rows: np.ndarray) -> list[int]:
    """Count the clips of each class among some rows; none in regression."""
    if targets.task == "single-label":
        return np.bincount(targets.values[rows], minlength=len(targets.names)).tolist()
    return targets.members[rows].sum(axis=0).tolist()


def audit_notes(study: Study, splits: Splits | None) -> AuditNotes:
    """Return the stored findings of `datasets audit` if they cover these clips; otherwise run the fast checks."""
    stored = _stored_audit(study)
    if stored is not None:
        compared = bool((stored.get("near_duplicates") or {}).get("backbones"))
        return AuditNotes(list(stored["findings"]), compared, stored.get("created_utc"))
    manifest, contents = study.manifest, study.inputs.contents
    specs = {label: table.spec for label, table in study.inputs.tables.items()}
    found = plain_findings(manifest, splits, contents, specs, study.failures)
    return AuditNotes([asdict(one) for one in worst_first(found)], False, None)


def _stored_audit(study: Study) -> dict[str, Any] | None:
    """Return `audit.json` if it has the same dataset, number of clips and protocol."""
    audit = read_json(study.config.run_dir / AUDIT_FILE)
    wanted = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dataset": study.manifest.name,
        "n_clips": len(study.manifest),
        "protocol": resolve_protocol(study.manifest, study.config.protocol),
    }
    if audit is None or any(audit.get(key) != value for key, value in wanted.items()):
        return None
    return audit if isinstance(audit.get("findings"), list) else None
