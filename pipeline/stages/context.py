"""Data shared by all fits of a run: the experiment, its splits, and the digests that identify finished fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from features.manifest import Manifest
from features.store.table import EmbeddingTable
from heads.options import HeadOptions
from heads.splits.protocol import Splits, make_splits
from heads.splits.targets import Targets
from pipeline.config.config import Config
from pipeline.console import Console
from pipeline.results.run_folder import job_digest
from pipeline.stages.data_digest import data_digest
from pipeline.stages.inputs import Inputs

TRAINER_VERSION = 5  # incremented when a change in `heads` changes results


@dataclass(frozen=True)
class Stage2:
    """Data shared by all fits of a run."""

    config: Config
    manifest: Manifest
    inputs: Inputs
    targets: Targets
    splits: Splits
    device: str
    console: Console

    @cached_property
    def data_digest(self) -> str:
        """Digest of clips, labels, audio and splits, computed once for all fits."""
        clips = self.manifest.clips
        columns = (clips["id"].tolist(), clips["label"].tolist(), self.inputs.contents.texts("key").to_pylist())
        return data_digest(columns, self.splits.splits, len(clips))


def splits_of(config: Config, manifest: Manifest, inputs: Inputs, strict: bool) -> Splits:
    """Return the protocol's splits, without the clips that some model cannot use."""
    return make_splits(
        manifest.without_added_labels,
        config.protocol,
        split_seed=config.split_seed,
        keys=inputs.contents.texts("key").to_pylist(),
        strict=strict,
        shots=config.few_shot.shots,
        draws=config.few_shot.draws,
        absent_classes=config.absent_classes,
        failed=[row for row, clip in enumerate(manifest.clips["id"]) if clip in inputs.failures],
    )


def head_job(stage: Stage2, table: EmbeddingTable, head: HeadOptions, poolings: Sequence[str]) -> str:
    """Return the digest of everything that determines the result of a head on a backbone."""
    model = {"table": table.fingerprint, "head": head.model_dump(), "refit": stage.config.refit}
    return job_of(stage, model | _added(stage), poolings)


def job_of(stage: Stage2, model: dict[str, Any], poolings: Sequence[str]) -> str:
    """Return the digest of everything that determines the result of one fit."""
    return job_digest(
        {
            "version": TRAINER_VERSION,
            "model": model,
            "pooling": list(poolings),
            "protocol": stage.splits.protocol,
            "data": stage.data_digest,
            "seeds": list(stage.config.seeds),
            **({"added_labels": added} if (added := stage.manifest.added_labels) else {}),
        }
    )


def _added(stage: Stage2) -> dict[str, Any]:
    """Return what identifies the windows of background that join training; nothing if there are none."""
    background, rows = stage.inputs.background, stage.inputs.added
    if background is None or not len(rows):
        return {}
    keys = background.contents.take(rows).texts("key").to_pylist()
    return {"background": [keys, background.parts[rows].tolist()]}
