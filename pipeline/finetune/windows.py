"""Clips as the windows that a trained model scores: what its inputs are padded with, and to which length."""

from __future__ import annotations

from torch import Tensor

from features.spec import BackboneSpec
from heads.batched.frame_blocks import StoredFrames
from heads.finetuning.crops import ScoringWindows
from heads.finetuning.options import Recipe
from heads.models import shortest_input
from heads.models.options import SpectrogramOptions

SILENCE_DB = -100.0  # what log-mels hold where there is no sound
QUIET_DEVIATIONS = 2.0  # below the mean of its band: quiet, and no outlier among standardised inputs


def in_decibels(options: Recipe) -> bool:
    """Whether a model reads log-mels."""
    return isinstance(options, SpectrogramOptions) and options.mel.scale == "log"


def fit_windows(
    options: Recipe,
    backbone: BackboneSpec | None,
    frames: StoredFrames,
    length: int,
    statistics: tuple[Tensor, Tensor],
) -> ScoringWindows:
    """Clips as windows of `length` frames, padded with what a model takes for silence; see `fit_clips`."""
    fill: float | Tensor = 0.0
    if in_decibels(options):
        fill = statistics[0] - QUIET_DEVIATIONS * statistics[1] if options.standardize else SILENCE_DB
    return ScoringWindows(
        frames,
        length,
        fill=fill,
        fixed=backbone is None,
        shortest=backbone.min_samples if backbone else shortest_input(options),
    )
