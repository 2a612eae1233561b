"""ECAPA-TDNN by SpeechBrain's modules, with the settings of the `hyperparams.yaml` beside the published weights."""

from pathlib import Path
from typing import Any

import numpy as np

N_MELS = 80


def save(preset: str, state: dict[str, Any], folder: Path) -> Path:
    """Write tensors as the published file has them: a state dict."""
    import torch

    path = folder / "embedding_model.ckpt"
    torch.save(state, path)
    return path


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the embedding (1, 1, D) of each clip, as `EncoderClassifier.encode_batch` computes it."""
    import torch
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
    from speechbrain.processing.features import InputNormalization

    front_end = Fbank(sample_rate=sample_rate, n_mels=N_MELS)
    centre = InputNormalization(norm_type="sentence", std_norm=False)
    model = ECAPA_TDNN(N_MELS, channels=[1024, 1024, 1024, 1024, 3072], lin_neurons=192).eval()
    model.load_state_dict(torch.load(str(weights), map_location="cpu", weights_only=True))
    whole = torch.ones(1)  # relative length
    with torch.inference_mode():
        return [model(centre(front_end(torch.from_numpy(clip)[None]), whole), whole).numpy() for clip in clips]
