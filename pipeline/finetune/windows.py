"""Scoring windows of a trained model: the padding value and the length of its inputs."""

from __future__ import annotations

from torch import Tensor

from features.spec import BackboneSpec
from heads.batched.frame_blocks import StoredFrames
from heads.finetuning.crops import ScoringWindows
from heads.finetuning.options import Recipe
from heads.models import shortest_input
from heads.models.options import SpectrogramOptions

SILENCE_DB = -100.0  # value of log-mels in silence
QUIET_DEVIATIONS = 2.0  # padding is this far below the mean of its band: quiet, but not an outlier


def in_decibels(options: Recipe) -> bool:
    """Whether a model's inputs are log-mels in decibels."""
    return isinstance(options, SpectrogramOptions) and options.mel.scale == "log"


def fit_windows(
    options: Recipe,
    backbone: BackboneSpec | None,
    frames: StoredFrames,
    length: int,
    statistics: tuple[Tensor, Tensor],
) -> ScoringWindows:
    """Return clips as windows of `length` frames, padded with silence; see `fit_clips`."""
    fill: float | Tensor = 0.0
    if in_decibels(options):
        deviation = statistics[1].where(statistics[1].isfinite(), 0.0)  # infinite for a constant band
        fill = statistics[0] - QUIET_DEVIATIONS * deviation if options.standardize else SILENCE_DB
    return ScoringWindows(
        frames,
        length,
        fill=fill,
        fixed=backbone is None,
        shortest=backbone.min_samples if backbone else shortest_input(options),
    )
