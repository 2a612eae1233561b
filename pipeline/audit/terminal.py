"""Print an audit in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.audit.leaks import label_counts, label_texts
from pipeline.console import Console
from pipeline.results.table import counted

if TYPE_CHECKING:
    from pipeline.audit.result import Audit

FOLDS_SHOWN = 12
PAIRS_SHOWN = 10
FAILURES_SHOWN = 5


def print_audit(audit: Audit, path: Path, console: Console) -> None:
    """Print the sizes, the most similar clips and every finding.

    Args:
        audit: The result to print.
        path: The file with the full result.
        console: The console to print to.
    """
    manifest = audit.manifest
    groups = f", {counted(manifest.clips['group'].nunique(), 'group')}" if "group" in manifest.clips else ""
    console.line(f"audit {manifest.name}: protocol {audit.protocol}, {counted(len(manifest), 'clip')}{groups}")
    console.line(f"labels: {_labels(audit)}")
    console.line(f"durations: {_durations(audit)}")
    _print_splits(audit, console)
    _print_pairs(audit, console)
    for clip, reason in list(audit.failures.items())[:FAILURES_SHOWN]:
        console.line(f"unreadable {clip}: {reason}")
    if len(audit.failures) > FAILURES_SHOWN:
        console.line(f"… and {len(audit.failures) - FAILURES_SHOWN} more in {path}")
    for found in audit.findings:
        console.line(f"{found.severity}: {found.message}")
    counts = ", ".join(counted(audit.count(severity), severity) for severity in ("error", "warning", "note"))
    console.line(f"audit {manifest.name}: {counts} → {path}")


def _labels(audit: Audit) -> str:
    """Describe the labels: `10, 40 clips each`."""
    counts = label_counts(audit.manifest)
    if counts is None:
        values = audit.manifest.clips["label"].to_numpy(dtype=float)
        return f"numbers, {values.min():g} to {values.max():g}, median {np.median(values):g}"
    most, fewest = int(counts.iloc[0]), int(counts.iloc[-1])
    if fewest == most:
        return f"{len(counts)}, {counted(most, 'clip')} each"
    return f"{len(counts)}, from {counted(fewest, 'clip')} ({counts.index[-1]}) to {most} ({counts.index[0]})"


def _durations(audit: Audit) -> str:
    """Describe the lengths: `0.14 to 2.28 s, median 0.42 s, 0.36 h in all; 3000 clips at 8000 Hz`."""
    lengths = np.array([content.duration_s for content in audit.contents if content.frames])
    if not len(lengths):
        return "no clip can be read"
    rates = {content.sample_rate for content in audit.contents if content.frames}
    at = ", ".join(f"{rate} Hz" for rate in sorted(rates))
    total = f"{lengths.sum() / 3600:.2g} h" if lengths.sum() >= 360 else f"{lengths.sum():.3g} s"
    return f"{lengths.min():.3g} to {lengths.max():.3g} s, median {np.median(lengths):.3g} s, {total} in all; {at}"


def _print_splits(audit: Audit, console: Console) -> None:
    """Print the numbers of training, validation and test clips of each split."""
    if not audit.sizes:
        return
    draws = len({size.draw for size in audit.sizes})
    sizes = [size for size in audit.sizes if size.draw == 0]
    shown = [
        (size.fold, size.train, size.valid, size.test, "–" if size.fewest is None else size.fewest)
        for size in sizes[:FOLDS_SHOWN]
    ]
    console.line("")
    console.table(
        ("fold", "train", "valid", "test", "fewest of a class in train"),
        shown,
        title=f"the first of {draws} draws in each fold" if draws > 1 else None,
        right=("train", "valid", "test", "fewest of a class in train"),
    )
    if rest := [size.test for size in sizes[FOLDS_SHOWN:]]:
        console.line(f"… and {len(rest)} more folds with {min(rest)} to {max(rest)} test clips")
    console.line("")


def _print_pairs(audit: Audit, console: Console) -> None:
    """Print the most similar pairs."""
    near = audit.near
    for label, about in near.compared.items():
        console.line(
            f"near-duplicates by {label} ({about['pooling']}, layer {about['layer']}): {about['clips']} of "
            f"{counted(len(audit.manifest), 'clip')} compared"
        )
    for label, why in near.skipped.items():
        if near.compared:
            console.line(f"near-duplicates by {label}: not checked ({why})")
    if near.pairs:
        ids, labels = audit.manifest.clips["id"].tolist(), label_texts(audit.manifest)
        rows = []
        for pair in near.pairs[:PAIRS_SHOWN]:
            one, other = pair.rows
            kind = "same samples" if pair.same_samples else f"{pair.similarity:.4f}"
            told = labels[one] if labels[one] == labels[other] else f"{labels[one]} / {labels[other]}"
            rows.append((kind, "different" if pair.across else "one", ids[one], ids[other], told, pair.backbone))
        console.table(("similarity", "sides", "clip", "and", "label", "by"), rows, foldable=("clip", "and", "label"))
        if near.n_pairs > PAIRS_SHOWN:
            console.line(f"… and {near.n_pairs - PAIRS_SHOWN} more pairs")
    console.line("")
