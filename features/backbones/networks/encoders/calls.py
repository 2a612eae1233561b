"""One call of an audio encoder: what its feature extractor gives it, and which outputs are frames of the clip."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.backbones.adapters.encoder_interface import InterfacedEncoder
from features.backbones.adapters.masked_encoder import MASKED, MaskedEncoder
from features.backbones.networks.codecs import CODECS, CodecEncoder
from features.backbones.options import EncoderInterface

AST = "audio-spectrogram-transformer"
WHISPER = "whisper"
AST_SPECIAL = 2  # class and distillation tokens, before the patches
AST_WINDOW_S, AST_HOP_S = 0.025, 0.01  # as in Kaldi's filter banks
CLAP = ("clap", "clap_audio_model")


def prepare(extractor: Any, module: Any, clip: np.ndarray) -> dict[str, Tensor]:
    """Run the feature extractor on one clip (T,); return the arguments of the encoder's `forward`, one row each."""
    taken = inspect.signature(module.forward).parameters
    inputs = extracted(extractor, clip, next(iter(taken)), masked=isinstance(module, MaskedEncoder))
    given = {key: value for key, value in inputs.items() if key in taken}
    mask = given.get("attention_mask")
    if mask is not None and bool(mask.all()):  # nothing is padded
        del given["attention_mask"]
    return given


def extracted(extractor: Any, clip: np.ndarray, name: str, masked: bool = False) -> Mapping[str, Tensor]:
    """Run a feature extractor on one clip (T,).

    Extractors of published code, such as Bird-MAE's, may take no sample rate and may return the tensor alone; `name` is
    then its name. `masked` asks for the mask of its padding.
    """
    takes_rate = "sampling_rate" in inspect.signature(extractor.__call__).parameters
    options = {"sampling_rate": extractor.sampling_rate} if takes_rate else {}
    options |= {"return_attention_mask": True} if masked else {}
    inputs = extractor(clip, **options, return_tensors="pt")
    return {name: inputs} if isinstance(inputs, Tensor) else inputs


def encode(module: Any, inputs: Mapping[str, Tensor], embedding: str) -> Tensor:
    """Encode inputs of one shape to (B, L, F, D): every hidden state with the output's shape, then the output."""
    if is_clap(module):
        return module(**inputs).pooler_output.float()[:, None, None]
    if module.config.model_type in CODECS:
        return module(**inputs).float()[:, None]
    output = module(**inputs, output_hidden_states=True)
    last = output.last_hidden_state
    states = [state for state in (output.hidden_states or ())[:-1] if state.shape == last.shape]
    values = torch.stack([*states, last], dim=1).float()
    if module.config.model_type == AST:
        if embedding == "pooled":
            return values[:, :, :AST_SPECIAL].mean(2, keepdim=True)
        bands, steps = _ast_grid(module.config)
        return values[:, :, AST_SPECIAL:].unflatten(2, (bands, steps)).mean(2)
    return values


def valid_frames(module: Any, extractor: Any, n_samples: int, n_frames: int) -> int:
    """Return the number of an encoder's frames that cover the clip rather than the feature extractor's padding."""
    if n_frames == 1 or is_clap(module):
        return n_frames
    if isinstance(module, MaskedEncoder):
        return min(n_frames, max(1, module.count_frames(math.ceil(n_samples / extractor.hop_length))))
    rate = extractor.sampling_rate
    analysed = max(0, math.floor((n_samples - AST_WINDOW_S * rate) / (AST_HOP_S * rate)) + 1)
    if pads_as_ast(module, extractor):
        return min(n_frames, max(1, analysed * n_frames // extractor.max_length))
    if module.config.model_type == AST:
        patches = (analysed - module.config.patch_size) // module.config.time_stride + 1
        return min(n_frames, max(1, patches))
    padded_to = getattr(extractor, "n_samples", None) if module.config.model_type == WHISPER else None
    return n_frames if padded_to is None else min(n_frames, math.ceil(n_frames * n_samples / padded_to))


def audio_encoder(
    whole: nn.Module, part: str, interface: EncoderInterface | None = None, embedding: str = "frames"
) -> Any:
    """Return the audio encoder of a whole model: its submodule `part`, or the model itself if that is empty.

    With an interface, it is called as the interface states.

    Raises:
        ValueError: There is no such submodule, or it has no such method.
    """
    try:
        module: Any = whole.get_submodule(part)
    except AttributeError:
        raise ValueError(f"interface.part: {type(whole).__name__} has no submodule {part!r}") from None
    config: Any = whole.config
    if interface is not None:
        return InterfacedEncoder(module, config, interface, pooled=embedding == "pooled")
    if getattr(getattr(module, "config", None), "model_type", None) in MASKED:
        return MaskedEncoder(module)
    return CodecEncoder(module, config) if config.model_type in CODECS else module


def pads_as_ast(module: Any, extractor: Any) -> bool:
    """Return whether a model with an interface of its own gets AST's input: a filter bank padded to `max_length`."""
    return isinstance(module, InterfacedEncoder) and type(extractor).__name__ == "ASTFeatureExtractor"


def is_clap(module: Any) -> bool:
    """Return whether an encoder is CLAP's, which gives one vector for each window."""
    return module.config.model_type in CLAP


def _ast_grid(config: Any) -> tuple[int, int]:
    """Return the number of AST patches across frequency and across time."""
    return (
        (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1,
        (config.max_length - config.patch_size) // config.time_stride + 1,
    )
