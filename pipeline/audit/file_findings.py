"""Audit findings about files: unreadable clips, near-duplicates, short clips, mixed sample rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from features.manifest import Manifest
from features.spec import BackboneSpec
from features.store.content_keys import ClipContent
from heads.splits.protocol import Splits
from pipeline.audit.findings import Finding, finding
from pipeline.audit.leaks import (
    audio_findings,
    group_findings,
    label_findings,
    label_texts,
    overlap_findings,
    same_audio,
    sides_of,
    similar_label_findings,
)
from pipeline.audit.near_duplicates import NearDuplicates


def failure_findings(manifest: Manifest, failures: Mapping[str, str], *, strict: bool) -> list[Finding]:
    """Return findings on clips that cannot be read, with reasons."""
    if not failures:
        return []
    clip, reason = next(iter(failures.items()))
    mostly = len(failures) * 2 > len(manifest)
    return [
        finding(
            "mostly-unreadable" if mostly else "unreadable",
            f"{manifest.name}: {len(failures)} of {len(manifest)} clips cannot be read and are excluded from all "
            f"scores, first {clip!r}: {reason}",
            strict=strict,
            count=len(failures),
            items=list(failures),
        )
    ]


def near_findings(manifest: Manifest, near: NearDuplicates, command: str, *, strict: bool) -> list[Finding]:
    """Return findings on pairs that sound alike, and on backbones that could not be compared."""
    ids, labels = manifest.clips["id"].tolist(), label_texts(manifest)

    def names(pairs: Sequence[Any]) -> list[list[str]]:
        return [[ids[row] for row in pair.rows] for pair in pairs]

    found = []
    same = [pair for pair in near.pairs if pair.same_samples]
    contrary = [pair for pair in same if labels[pair.rows[0]] != labels[pair.rows[1]]]
    for kind, pairs, what in (
        (
            "audio-overlap",
            [pair for pair in same if pair.across],
            "one in the test set, the other in training or validation",
        ),
        ("conflicting-labels", contrary, "under different labels"),
    ):
        if pairs:
            found.append(
                finding(
                    kind,
                    f"{manifest.name}: {len(pairs)} pair(s) of different files decode to the same samples, "
                    f"{what}, first {' = '.join(map(repr, names(pairs)[0]))}; give them the same `group` or remove one",
                    strict=strict,
                    count=len(pairs),
                    items=names(pairs),
                )
            )
    if near.n_across:
        pairs = [pair for pair in near.pairs if pair.across]
        found.append(
            finding(
                "near-duplicates-across",
                f"{manifest.name}: {near.n_across} pair(s) of clips are near-duplicates (similarity {near.threshold:g} "
                "or more), one in the test set, the other in training or validation, "
                f"first {' ~ '.join(map(repr, names(pairs)[0]))}; "
                "if they are from one recording, give them the same `group`",
                strict=strict,
                count=near.n_across,
                items=names(pairs),
            )
        )
    if within := near.n_pairs - near.n_across:
        pairs = [pair for pair in near.pairs if not pair.across]
        example = f", first {' ~ '.join(map(repr, names(pairs)[0]))}" if pairs else ""
        message = (
            f"{manifest.name}: {within} pair(s) of clips are near-duplicates, each on one side of every split{example}"
        )
        found.append(finding("near-duplicates", message, count=within, items=names(pairs)))
    if not near.compared:
        reasons = [f"{label}: {why}" for label, why in near.skipped.items()]
        message = f"near-duplicates were not checked ({'; '.join(reasons)}); run `{command}` first"
        found.append(finding("not-compared", message, count=len(reasons), items=list(near.skipped)))
    return found


def length_findings(
    manifest: Manifest, contents: Sequence[ClipContent], specs: Mapping[str, BackboneSpec]
) -> list[Finding]:
    """Return findings on clips shorter than the minimum length of a backbone."""
    found = []
    for label, spec in specs.items():
        short = [
            str(clip)
            for clip, content in zip(manifest.clips["id"], contents, strict=True)
            if content.frames and content.duration_s < spec.min_duration_s
        ]
        if short:
            found.append(
                finding(
                    "durations",
                    f"{manifest.name}: {len(short)} clip(s) are shorter than the {spec.min_duration_s:.3g} s that "
                    f"{label} needs and are padded with zeros",
                    count=len(short),
                    items=short,
                )
            )
    return found


def rate_findings(manifest: Manifest, contents: Sequence[ClipContent]) -> list[Finding]:
    """Return a finding if the files have several sample rates."""
    rates = pd.Series([content.sample_rate for content in contents if content.frames]).value_counts()
    if len(rates) < 2:
        return []
    shown = ", ".join(f"{count} at {rate} Hz" for rate, count in rates.items())
    message = (
        f"{manifest.name}: clips have {len(rates)} sample rates ({shown}); "
        "a model may learn the sample rate instead of the sound"
    )
    return [finding("sample-rates", message, count=len(rates), items=[int(rate) for rate in rates.index])]


def plain_findings(
    manifest: Manifest,
    splits: Splits | None,
    contents: Sequence[ClipContent],
    specs: Mapping[str, BackboneSpec],
    failures: Mapping[str, str],
    *,
    strict: bool = False,
) -> list[Finding]:
    """Return the findings from labels, splits and file headers, without decoding audio or comparing embeddings.

    Args:
        manifest: The clips.
        splits: The splits; None if the protocol cannot divide the clips.
        contents: File content of every manifest row.
        specs: Backbone specs by label.
        failures: id -> reason, for clips that cannot be read.
        strict: Treat leaking official splits, unreadable clips and contradicting labels as errors.
    """
    keys, sides = [content.key for content in contents], sides_of(splits, len(manifest))
    found: list[Finding] = []
    if splits is not None:
        found += overlap_findings(manifest, splits, keys, sides, strict=strict)
        overlaps = {one.message for one in found} | {manifest.similar_labels}
        found += [finding("splits", warning) for warning in splits.warnings if warning not in overlaps]
    found += failure_findings(manifest, failures, strict=strict)
    found += audio_findings(manifest, same_audio(manifest, keys, sides), strict=strict)
    found += similar_label_findings(manifest)
    found += label_findings(manifest)
    found += group_findings(manifest)
    found += length_findings(manifest, contents, specs)
    found += rate_findings(manifest, contents)
    return found


def worst_first(found: Sequence[Finding]) -> list[Finding]:
    """Return errors, then warnings, then notes, each in the order in which they were found."""
    order = ("error", "warning", "note")
    return sorted(found, key=lambda one: order.index(one.severity))
