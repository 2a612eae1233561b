"""Encoders of transformers: their own class and feature extractor, given one clip at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

CODECS = ("dac", "encodec", "mimi")
PE_AUDIO = ("pe_audio", "pe_audio_encoder")
FLAMINGO = ("audioflamingo3", "audioflamingo3_encoder")
WHISPER_HOP = 320  # samples of a frame of Whisper's encoder
AST_BANDS, AST_STEPS = 12, 101  # patches of AST's input across frequency and across time
AST_SPECIAL = 2  # class and distillation tokens before the patches


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the layers (L, F, D) of each clip alone, by the model in a folder of `save_pretrained`."""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel

    from features.backbones.loading.pretrained import quiet_transformers
    from features.backbones.loading.weights import find_model_folder

    folder = find_model_folder(preset, str(weights))
    with quiet_transformers():
        model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        extractor = AutoFeatureExtractor.from_pretrained(folder)
    return [layers_of(model, extractor, clip) for clip in clips]


def layers_of(model: Any, extractor: Any, clip: np.ndarray) -> np.ndarray:
    """Return the layers (L, F, D) of one clip (T,): the hidden states of the output's shape, then the output.

    Frames of a feature extractor's padding are left out. AST's patches are averaged over frequency.

    Args:
        model: A model of transformers.
        extractor: Its feature extractor.
        clip: Samples at the extractor's rate.
    """
    import torch

    base = model.base_model
    masked = {"return_attention_mask": True} if base.config.model_type in FLAMINGO else {}
    inputs = extractor(clip, sampling_rate=extractor.sampling_rate, return_tensors="pt", **masked)
    with torch.inference_mode():
        return _layers(base, inputs, len(clip)).numpy()


def _layers(base: Any, inputs: Any, n_samples: int) -> torch.Tensor:
    """Return the layers of the extractor's output for a clip of `n_samples`."""
    import torch

    kind = base.config.model_type
    if kind == "clap":
        return base.audio_model(**inputs).pooler_output[None]
    if kind in CODECS:
        encoded = base.encoder(inputs["input_values"])
        return (encoded.latents if kind == "mimi" else encoded).mT
    if kind in PE_AUDIO:
        return getattr(base, "audio_encoder", base)(inputs["input_values"]).last_hidden_state
    if kind in FLAMINGO:  # the number of frames is the one that its processor gives to the language model
        encoder, mask = getattr(base, "audio_tower", base), inputs["attention_mask"]
        frames = encoder(inputs["input_features"], input_features_mask=mask).last_hidden_state
        return frames[:, : ((int(mask.sum()) - 1) // 2 + 1) // 2]
    encoder = base.get_encoder() if kind == "whisper" else base
    output = encoder(**inputs, output_hidden_states=True)
    last = output.last_hidden_state
    layers = torch.cat([*(state for state in output.hidden_states[:-1] if state.shape == last.shape), last])
    if kind == "whisper":
        return layers[:, : -(-n_samples // WHISPER_HOP)]
    if kind == "audio-spectrogram-transformer":  # steps whose 16 frames of 25 ms are inside the clip
        steps = max(1, (1 + (n_samples - 400) // 160 - 16) // 10 + 1)
        return layers[:, AST_SPECIAL:].unflatten(1, (AST_BANDS, AST_STEPS)).mean(1)[:, :steps]
    return layers
