"""Inputs of models trained end to end: cached log-mels and waveforms, the usable clips, crops and windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from features.corpus import Corpus
from features.errors import UserError
from features.spec import BackboneSpec
from features.store.frames import ClipFrames
from features.store.table import EmbeddingTable
from heads.finetuning.augmentation import Augmenter
from heads.finetuning.crops import band_statistics
from heads.finetuning.finetune import SplitRows
from heads.finetuning.lightning_module import TrainingClips
from heads.finetuning.options import MAX_DEFAULT_DURATION_S, Recipe
from heads.splits.protocol import Split
from pipeline.config.config import Config
from pipeline.finetune.windows import fit_windows, in_decibels
from pipeline.stages.background.joining import joined_targets
from pipeline.stages.context import Stage2
from pipeline.stages.inputs import Inputs, inputs_from, read_inputs, stored_identities, stored_rows


def shared_inputs(config: Config, corpus: Corpus, tables: Sequence[EmbeddingTable]) -> Inputs:
    """Return the inputs shared by all fits: content keys, and the clips that any model, also frozen, cannot use."""
    try:
        return read_inputs(config, corpus)
    except UserError:  # stage 1 has not run yet; unreadable files are reported here as well
        return inputs_from(config, corpus, {}, tables)


def open_frames(stage: Stage2, table: EmbeddingTable) -> ClipFrames:
    """Open the inputs of all usable clips and of the windows of background in training."""
    return ClipFrames(table, *stored_identities(stage.manifest, stage.inputs))


def fit_rows(stage: Stage2, split: Split) -> SplitRows:
    """Return a split's training, validation and test clips as positions among the rows of `open_frames`."""
    stored = stored_rows(stage.manifest, stage.inputs)
    return SplitRows(*(np.searchsorted(stored, side) for side in (split.train, split.valid, split.test)))


def fit_statistics(options: Recipe, frames: ClipFrames, rows: SplitRows) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each band for standardisation, (D,) each; 0 and 1 if inputs are not standardised."""
    if options.standardize:
        return band_statistics(frames, rows.train)
    return torch.zeros(frames.dim), torch.ones(frames.dim)


def fit_clips(
    stage: Stage2,
    options: Recipe,
    backbone: BackboneSpec | None,
    rate: float,
    frames: ClipFrames,
    rows: SplitRows,
    statistics: tuple[Tensor, Tensor],
) -> TrainingClips:
    """Return a fit's clips, as crops and windows of its length.

    Args:
        stage: The run.
        options: Options of the model.
        backbone: Spec of the model's backbone, if it has one.
        rate: Frames per second.
        frames: From `open_frames`.
        rows: Training, validation and test clips of the fit.
        statistics: From `fit_statistics`.
    """
    stored = stored_rows(stage.manifest, stage.inputs)
    targets = joined_targets(stage.targets, stage.inputs)[stored]
    longest = int(frames.lengths[rows.train].max())
    if options.duration_s is not None:
        length = max(1, round(options.duration_s * rate))
    else:
        length = min(longest, round(MAX_DEFAULT_DURATION_S * rate))
    windows = fit_windows(options, backbone, frames, length, statistics)
    augmenter = Augmenter(options.augment, rate, in_decibels(options))
    return TrainingClips(windows, targets, stage.targets.n_outputs, augmenter)
