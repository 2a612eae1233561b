"""EAT's code on the preparation that its model card shows."""

from __future__ import annotations

import numpy as np
import torch
from torchaudio.compliance.kaldi import fbank

from recipes.parity.folders import published_model

MEAN, STD, LONGEST, BANDS = -4.268, 4.569, 1024, 8


def embed(preset: str, clips: list[np.ndarray], rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the patches (1, F, D) of each clip, averaged over the frequency bands, without those of the padding."""
    model = published_model(str(weights))
    embedded = []
    for clip in clips:
        samples = torch.from_numpy(clip)[None]
        mel = fbank(
            samples - samples.mean(),
            htk_compat=True,
            sample_frequency=rate,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=128,
            dither=0.0,
            frame_shift=10,
        )
        n_frames = min(len(mel), LONGEST)
        mel = (torch.nn.functional.pad(mel, (0, 0, 0, LONGEST - len(mel))) - MEAN) / (2 * STD)
        with torch.inference_mode():
            patches = model.extract_features(mel[None, None])[:, 1:]
        steps = patches.unflatten(1, (-1, BANDS)).mean(2)
        embedded.append(steps[:, : max(1, n_frames * steps.shape[1] // LONGEST)].numpy())
    return embedded
