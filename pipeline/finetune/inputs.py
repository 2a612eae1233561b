"""What models trained end to end read: cached log-mels and waveforms, the usable clips, crops and windows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from features.errors import UserError
from features.manifest import Manifest
from features.planning.worklist import known_failures
from features.spec import BackboneSpec
from features.store.content_keys import clip_contents
from features.store.frames import ClipFrames
from features.store.table import EmbeddingTable
from heads.finetuning.augmentation import Augmenter
from heads.finetuning.crops import band_statistics
from heads.finetuning.finetune import Rows
from heads.finetuning.lightning_module import Clips
from heads.finetuning.options import MAX_DEFAULT_DURATION_S, Recipe
from heads.splits.protocol import Split
from pipeline.config.config import Config
from pipeline.finetune.windows import fit_windows, in_decibels
from pipeline.stages.context import Stage2
from pipeline.stages.inputs import Inputs, read_inputs


def shared_inputs(config: Config, manifest: Manifest, tables: Sequence[EmbeddingTable]) -> Inputs:
    """What fits share: content keys, and the clips that some model, frozen ones included, cannot use."""
    contents = clip_contents(manifest, config.output.cache / manifest.name)
    failures: dict[str, str] = {}
    for table in tables:
        failures |= known_failures(table, manifest, contents)
    with suppress(UserError):  # before stage 1 has run: files that cannot be read fail here just the same
        failures |= read_inputs(config, manifest).failures
    return Inputs({}, contents, failures)


def open_frames(stage: Stage2, table: EmbeddingTable) -> ClipFrames:
    """Inputs of all usable clips, in manifest order."""
    usable = usable_rows(stage)
    ids = stage.manifest.clips["id"].to_numpy(dtype=object)[usable]
    return ClipFrames(table, list(ids), [stage.inputs.contents[row].key for row in usable])


def usable_rows(stage: Stage2) -> np.ndarray:
    """Rows of the manifest that no model fails on, ascending."""
    failed = stage.manifest.clips["id"].isin(list(stage.inputs.failures)).to_numpy()
    return np.flatnonzero(~failed)


def fit_rows(stage: Stage2, split: Split) -> Rows:
    """A split's sides as positions among the usable clips."""
    usable = usable_rows(stage)
    return Rows(*(np.searchsorted(usable, side) for side in (split.train, split.valid, split.test)))


def fit_statistics(options: Recipe, frames: ClipFrames, rows: Rows) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each band that inputs are standardised by, (D,) each; 0 and 1 where they are not."""
    if options.standardize:
        return band_statistics(frames, rows.train)
    return torch.zeros(frames.dim), torch.ones(frames.dim)


def fit_clips(
    stage: Stage2,
    options: Recipe,
    backbone: BackboneSpec | None,
    rate: float,
    frames: ClipFrames,
    rows: Rows,
    statistics: tuple[Tensor, Tensor],
) -> Clips:
    """A fit's clips, as crops and windows of its length.

    Args:
        stage: The run.
        options: The model's.
        backbone: Of a model that has one.
        rate: Frames per second.
        frames: Inputs of all usable clips.
        rows: The fit's.
        statistics: From `fit_statistics`.
    """
    targets = stage.targets.values[usable_rows(stage)]
    longest = int(frames.lengths[rows.train].max())
    if options.duration_s is not None:
        length = max(1, round(options.duration_s * rate))
    else:
        length = min(longest, round(MAX_DEFAULT_DURATION_S * rate))
    windows = fit_windows(options, backbone, frames, length, statistics)
    augmenter = Augmenter(options.augment, rate, in_decibels(options))
    return Clips(windows, targets, stage.targets.n_outputs, augmenter)
