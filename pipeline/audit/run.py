"""`audioheads datasets audit`: check labelled clips and their splits before training."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from features import backbones
from features.corpus import Corpus
from features.datasets import load_manifest
from features.datasets.questions import task_question
from features.errors import AudioheadsError, ManifestError
from features.manifest import Manifest
from features.spec import BackboneSpec
from features.store import fingerprint as fp
from features.store.content_keys import ClipContent
from features.store.table import EmbeddingTable, open_table
from heads.splits.protocol import make_splits, resolve_protocol
from pipeline.audit.file_findings import near_findings, plain_findings, worst_first
from pipeline.audit.findings import Finding, finding
from pipeline.audit.leaks import label_counts, label_texts, same_audio, sides_of, split_sizes
from pipeline.audit.near_duplicates import SIMILARITY, find_near_duplicates
from pipeline.audit.result import Audit
from pipeline.audit.terminal import print_audit
from pipeline.config.config import Config, label_of
from pipeline.console import Console
from pipeline.results.run_folder import write_json
from pipeline.stages.features import stage1_settings
from pipeline.stages.inputs import failures_of

FORMAT = "audioheads-audit"
FORMAT_VERSION = 1  # increased when readers of audit.json must change
AUDIT_FILE = "audit.json"


def run_audit(config: Config, *, strict: bool, similarity: float = SIMILARITY, console: Console) -> bool:
    """Check the clips and splits of an experiment, print the findings and write `audit.json`.

    Args:
        config: The experiment.
        strict: Treat leaking official splits, unreadable clips and contradicting labels as errors.
        similarity: Lowest cosine of near-duplicates.
        console: Prints the findings.

    Returns:
        True if no finding is an error.

    Raises:
        ManifestError: The corpus is missing or its table is invalid.
        RunError: `audit.json` cannot be written.
    """
    with console.progress("audit", None, ""):
        audit = examine(config, strict=strict, similarity=similarity)
    path = config.run_dir / AUDIT_FILE
    write_json(path, as_json(audit))
    print_audit(audit, path, console)
    return not audit.count("error")


def examine(config: Config, *, strict: bool = False, similarity: float = SIMILARITY) -> Audit:
    """Run all checks and return their findings; see `run_audit` for the arguments."""
    manifest = load_manifest(config.dataset.model_dump())
    corpus = Corpus(manifest, config.output.cache / manifest.name)
    contents = corpus.contents
    specs, tables, without = _cached(config, manifest)
    failures = corpus.unreadable | failures_of(corpus, tables.values())
    protocol = resolve_protocol(manifest, config.protocol)
    keys = contents.texts("key").to_pylist()
    found: list[Finding] = []
    splits = None
    try:
        splits = make_splits(
            manifest,
            protocol,
            split_seed=config.split_seed,
            absent_classes=config.absent_classes,
            keys=keys,
            shots=config.few_shot.shots,
            draws=config.few_shot.draws,
            failed=np.flatnonzero(manifest.clips["id"].isin(failures.keys())).tolist(),
        )
    except ManifestError as error:
        found.append(finding("protocol", str(error)))
    sides = sides_of(splits, len(manifest))
    identical = same_audio(manifest, keys, sides)
    near = find_near_duplicates(manifest, tables, contents, sides, similarity, corpus.folder)
    near.skipped |= without
    found += near_findings(manifest, near, config.command("features"), strict=strict)
    if question := task_question(manifest, config.dataset):
        found.append(finding("task", question))
    found += plain_findings(manifest, splits, contents, specs, failures, strict=strict)
    return Audit(
        manifest,
        protocol,
        strict,
        tuple(worst_first(found)),
        tuple(split_sizes(manifest, splits)),
        tuple(contents),
        failures,
        tuple(identical),
        near,
    )


def as_json(audit: Audit) -> dict[str, Any]:
    """Return the audit as JSON values; `docs/decisions/corpora.md` describes the schema of `audit.json`."""
    ids = audit.manifest.clips["id"].tolist()
    clips, labels = audit.manifest.clips, label_texts(audit.manifest)
    counts = label_counts(audit.manifest)
    lengths = durations_s(audit.contents)
    rates = pd.Series([content.sample_rate for content in audit.contents if content.frames]).value_counts()
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "dataset": audit.manifest.name,
        "task": audit.manifest.task,
        "protocol": audit.protocol,
        "strict": audit.strict,
        "n_clips": len(ids),
        "n_groups": int(clips["group"].nunique()) if "group" in clips else None,
        "findings": [asdict(one) for one in audit.findings],
        "labels": None if counts is None else {str(name): int(counts[name]) for name in sorted(counts.index)},
        "splits": [asdict(size) for size in audit.sizes],
        "durations": {
            "n_clips": len(lengths),
            "min_s": float(lengths.min()),
            "median_s": float(np.median(lengths)),
            "max_s": float(lengths.max()),
            "total_s": float(lengths.sum()),
        }
        if len(lengths)
        else None,
        "sample_rates": {str(rate): int(rates[rate]) for rate in sorted(rates.index)},
        "identical_audio": [
            {"ids": [ids[row] for row in same.rows], "labels": list(same.labels), "across": same.across}
            for same in audit.identical
        ],
        "near_duplicates": {
            "threshold": audit.near.threshold,
            "backbones": audit.near.compared,
            "not_compared": audit.near.skipped,
            "n_pairs": audit.near.n_pairs,
            "n_across": audit.near.n_across,
            "pairs": [
                {
                    "ids": [ids[row] for row in pair.rows],
                    "labels": [labels[row] for row in pair.rows],
                    "similarity": round(pair.similarity, 5),
                    "backbone": pair.backbone,
                    "across": pair.across,
                    "same_samples": pair.same_samples,
                }
                for pair in audit.near.pairs
            ],
        },
        "failures": audit.failures,
    }


def durations_s(contents: Sequence[ClipContent]) -> np.ndarray:
    """Return the lengths in seconds of the readable clips."""
    return np.array([content.duration_s for content in contents if content.frames])


def _cached(
    config: Config, manifest: Manifest
) -> tuple[dict[str, BackboneSpec], dict[str, EmbeddingTable], dict[str, str]]:
    """Return, by backbone label: specs, readable cache tables, and reasons why a table is missing."""
    settings = stage1_settings(config)
    specs, tables, without = {}, {}, {}
    for options in config.features.backbones:
        label = label_of(options)
        try:
            specs[label] = spec = backbones.describe(options)  # type: ignore[arg-type]
            path = fp.cache_path(config.output.cache, manifest.name, settings.cache_spec(spec), spec.title)
            if path.exists():
                tables[label] = open_table(path)
            else:
                without[label] = "no embeddings yet"
        except AudioheadsError as error:
            without[label] = str(error).removeprefix(f"{label}: ")
    return specs, tables, without
