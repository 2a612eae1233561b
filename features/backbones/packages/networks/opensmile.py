"""Functionals of clips, computed by the Python package `opensmile`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from features.backbones.base import Backbone
from features.backbones.packages.missing import needs_package
from features.pooling import Frames
from features.spec import BackboneSpec


class OpensmileBackbone(Backbone):
    """One vector of functionals for each clip, computed from the clip alone.

    When the windows of a long clip are pooled, the vector of each is weighted by the window's length.
    """

    def __init__(self, spec: BackboneSpec) -> None:
        """Load the feature set that a spec names.

        Raises:
            WeightsError: openSMILE is not installed.
        """
        with needs_package(spec.title, "opensmile"):
            import opensmile

        self.spec = spec
        self.device = torch.device("cpu")
        self._smile = opensmile.Smile(
            opensmile.FeatureSet[spec.settings["feature_set"]], opensmile.FeatureLevel.Functionals
        )

    @property
    def parameters(self) -> int:
        """0: there are no parameters."""
        return 0

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """See `Backbone.forward`; not differentiable."""
        samples = [waveform[:n].numpy() for waveform, n in zip(waveforms, lengths.tolist(), strict=True)]
        with ThreadPoolExecutor(torch.get_num_threads(), "opensmile") as pool:
            clips = np.stack(list(pool.map(self._functionals, samples)))
        weights = lengths.float()[:, None] / self.spec.max_samples
        return Frames(torch.from_numpy(clips)[:, None, None], torch.ones_like(lengths), weights)

    def _functionals(self, samples: np.ndarray) -> np.ndarray:
        """Return the functionals (D,) float32 of one clip (T,)."""
        return self._smile(samples, self.spec.sample_rate).astype(np.float32)[0, :, 0]
