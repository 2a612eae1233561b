"""Feature extractors of transformers as batched torch modules, computed on the device of the encoder.

Each gives what the extractor of the same name gives for one clip alone. `front_end_of` compares the two on noise before
it uses a module, so that a setting that a module does not know leads to the extractor itself, not to other values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.backbones.networks.front_ends.interface import FrontEnd
from features.backbones.networks.front_ends.spectrograms import Ast, Clap, MaskedWhisper, SeamlessM4T, Whisper
from features.backbones.networks.front_ends.waveforms import Codec, PeAudio, Wav2Vec2

TOLERANCE = 1e-4  # of an input's values, which are normalised or logarithms

FRONT_ENDS: Mapping[str, Callable[[Any], FrontEnd]] = {
    "ASTFeatureExtractor": Ast,
    "ClapFeatureExtractor": Clap,
    "DacFeatureExtractor": Codec,
    "EncodecFeatureExtractor": Codec,
    "PeAudioFeatureExtractor": PeAudio,
    "SeamlessM4TFeatureExtractor": SeamlessM4T,
    "Wav2Vec2FeatureExtractor": Wav2Vec2,
    "WhisperFeatureExtractor": Whisper,
}


MASKED_FRONT_ENDS: Mapping[str, Callable[[Any], FrontEnd]] = {"WhisperFeatureExtractor": MaskedWhisper}


def front_end_of(
    extractor: Any,
    prepare: Callable[[np.ndarray], Mapping[str, Tensor]],
    device: torch.device,
    masked: bool = False,
) -> FrontEnd | None:
    """Return the module that replaces a feature extractor, or None if there is none or it gives other values.

    The modules compute in the type of the extractor they replace, float64 for those in numpy, but in float32 on devices
    without float64.

    Args:
        extractor: A feature extractor of transformers.
        prepare: Runs the extractor on one clip (T,) and returns the arguments of the encoder, one row each.
        device: Where the module is to run.
        masked: Whether the encoder is given the extractor's mask of padding.
    """
    build = (MASKED_FRONT_ENDS if masked else FRONT_ENDS).get(type(extractor).__name__)
    if build is None:
        return None
    rate = int(extractor.sampling_rate)
    noise = 0.1 * np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    clips = [noise, noise[: rate // 3]]
    try:
        front_end = build(extractor).requires_grad_(False).eval()
        batch = nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True)
        with torch.inference_mode():
            groups = front_end(batch, [len(clip) for clip in clips])
        same = all(
            _same({key: value[at : at + 1] for key, value in inputs.items()}, prepare(clips[row]))
            for rows, inputs in groups
            for at, row in enumerate(rows)
        )
    except Exception:  # a setting that the module does not know
        return None
    if not same:
        return None
    return (front_end.float() if device.type == "mps" else front_end).to(device)


def _same(values: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Return whether two sets of inputs are equal within `TOLERANCE`."""
    return values.keys() == expected.keys() and all(
        value.shape == expected[key].shape
        and torch.allclose(value.double(), expected[key].double(), rtol=0, atol=TOLERANCE)
        for key, value in values.items()
    )
