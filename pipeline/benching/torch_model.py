"""Trained models as functions of one waveform, without reading files: what `predict` computes after decoding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from features.backbones.base import Backbone, pad
from features.planning.settings import Settings
from features.pooling import POOLINGS, Frames, pool
from features.store.writer import CacheRows, LongFrames
from pipeline.benching.timing import Seconds, measured
from pipeline.predicting.fitted import FittedModel
from pipeline.predicting.predictor import Predictor


class SharedBackbone:
    """Trained models on one backbone, which runs once per clip for all of them."""

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        """Load the backbone.

        Args:
            predictors: Models with the same backbone entry, on the same device.
        """
        self.backbone: Backbone = predictors[0].backbone
        self.models = [(one.fitted, one.settings) for one in predictors]

    def scores(self, waveform: np.ndarray) -> list[np.ndarray]:
        """Return the outputs (C,) of each model for a waveform (T,) of at most `spec.max_samples`."""
        frames = self._frames(waveform)
        return [self._own_part(model, settings, frames) for model, settings in self.models]

    def times(self, waveform: np.ndarray) -> list[Seconds]:
        """Return the time that each model takes for a waveform: that of the backbone and its own."""
        frames, (wall, cpu) = measured(lambda: self._frames(waveform))
        found = []
        for model, settings in self.models:
            _, own = measured(partial(self._own_part, model, settings, frames))
            found.append((wall + own[0], cpu + own[1]))
        return found

    def _frames(self, waveform: np.ndarray) -> Frames:
        frames = self.backbone.embed_batch(*pad([waveform], self.backbone.spec.min_samples))
        if frames.values.is_cuda:  # its kernels run after the call returns
            torch.cuda.synchronize(frames.values.device)
        return frames

    def _own_part(self, model: FittedModel, settings: Settings, frames: Frames) -> np.ndarray:
        """Return the outputs (C,) of a model: pooling, heads or networks."""
        outputs: np.ndarray = model(rows_of(frames, settings), self.backbone.spec)[0]
        return outputs


def rows_of(frames: Frames, settings: Settings) -> CacheRows:
    """Return what a model reads of the frames of a batch with one clip, pooled and stored as in stage 1."""
    count, poolings, layers = int(frames.lengths[0]), settings.pooling, settings.frame_layers
    with torch.inference_mode():
        vectors = pool(frames, [name for name in POOLINGS if name in poolings])
        kept: list[np.ndarray | LongFrames] | None = None
        if "frames" in poolings:
            values = frames.values[0, :, :count] if layers is None else frames.values[0, list(layers), :count]
            kept = [values.transpose(0, 1).float().cpu().numpy()]
        pooled = {name: values.cpu().numpy() for name, values in vectors.items()}
    return CacheRows(ids=["clip"], n_frames=[count], pooled=pooled, frames=kept)
