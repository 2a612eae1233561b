"""The clips behind the numbers: how many, how long, how divided, and what an audit has to say of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from features.errors import ManifestError
from features.store.content_keys import ClipContent
from heads.splits.feasibility import resolve_protocol
from heads.splits.protocol import Splits
from heads.splits.targets import Targets
from pipeline.audit.file_findings import plain_findings, worst_first
from pipeline.audit.run import AUDIT_FILE, FORMAT, FORMAT_VERSION
from pipeline.report.study import Study
from pipeline.stages.context import splits_of

MOST_BINS = 30
ALIKE_S = 0.01  # clips whose lengths differ by less all last alike


@dataclass(frozen=True)
class Histogram:
    """How many values fall in bins of one width.

    Attributes:
        middles: Of the bins, (B,).
        counts: (B,).
    """

    middles: list[float]
    counts: list[int]


@dataclass(frozen=True)
class Division:
    """Clips of each class in each part.

    Attributes:
        parts: `train`, `valid`, `test` of a single split; of several, the test folds.
        counts: By class, one count per part; None where labels are numbers.
        totals: Clips per part.
        are_folds: Whether the parts are test folds.
    """

    parts: list[str]
    counts: dict[str, list[int]] | None
    totals: list[int]
    are_folds: bool


@dataclass(frozen=True)
class AuditNotes:
    """What an audit says.

    Attributes:
        findings: Each with `severity`, `message`, `count`, worst first.
        near_duplicates: Whether clips that sound alike were looked for.
        created_utc: When `datasets audit` ran; None where its findings are this report's own.
    """

    findings: list[Mapping[str, Any]]
    near_duplicates: bool
    created_utc: str | None


def durations_of(contents: Sequence[ClipContent]) -> np.ndarray:
    """Lengths in seconds of the clips that can be read."""
    return np.array([content.duration_s for content in contents if content.frames])


def histogram(values: np.ndarray) -> Histogram | None:
    """Counts in bins of equal width; None where all values are alike."""
    if len(values) < 2 or np.ptp(values) < ALIKE_S:
        return None
    edges = np.histogram_bin_edges(values, "auto")
    if len(edges) - 1 > MOST_BINS:
        edges = np.linspace(values.min(), values.max(), MOST_BINS + 1)
    counts, edges = np.histogram(values, edges)
    return Histogram(((edges[:-1] + edges[1:]) / 2).tolist(), counts.tolist())


def divided(splits: Splits, targets: Targets) -> Division:
    """Clips of each class by side of a single split, else by test fold; repeated draws share their test clips."""
    first = [split for split in splits.splits if split.draw == 0]
    if len(first) == 1:
        sides = {"train": first[0].train, "valid": first[0].valid, "test": first[0].test}
    else:
        sides = {str(split.fold): split.test for split in first}
    members = targets.members
    counts = {
        name: [int(members[rows, number].sum()) for rows in sides.values()] for number, name in enumerate(targets.names)
    }
    totals = [len(rows) for rows in sides.values()]
    return Division(list(sides), counts if targets.names else None, totals, len(first) > 1)


def splits_or_none(study: Study) -> Splits | None:
    """The experiment's splits; None where clips have changed so that they can no longer be divided."""
    try:
        return splits_of(study.config, study.manifest, study.inputs, strict=False)
    except ManifestError:
        return None


def audit_notes(study: Study, splits: Splits | None) -> AuditNotes:
    """What `datasets audit` left in the run's folder, if it was of these clips; else what costs next to nothing."""
    stored = _stored_audit(study)
    if stored is not None:
        compared = bool((stored.get("near_duplicates") or {}).get("backbones"))
        return AuditNotes(list(stored["findings"]), compared, stored.get("created_utc"))
    manifest, contents = study.manifest, study.inputs.contents
    specs = {label: table.spec for label, table in study.inputs.tables.items()}
    found = plain_findings(manifest, splits, contents, specs, study.failures)
    return AuditNotes([asdict(one) for one in worst_first(found)], False, None)


def _stored_audit(study: Study) -> dict[str, Any] | None:
    """`audit.json`, where it is of as many clips of this dataset under this protocol."""
    try:
        audit = json.loads((study.config.run_dir / AUDIT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dataset": study.manifest.name,
        "n_clips": len(study.manifest),
        "protocol": resolve_protocol(study.manifest, study.config.protocol),
    }
    if not isinstance(audit, dict) or any(audit.get(key) != value for key, value in wanted.items()):
        return None
    return audit if isinstance(audit.get("findings"), list) else None
