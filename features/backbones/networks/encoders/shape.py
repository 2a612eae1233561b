"""Input lengths and output shape of an audio encoder, measured before its weights are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from features.backbones.adapters.encoder_interface import InterfacedEncoder
from features.backbones.adapters.equal_length import SHORTEST_S
from features.backbones.adapters.masked_encoder import MaskedEncoder
from features.backbones.loading.import_paths import described
from features.backbones.networks.codecs import CODECS, hop_of
from features.backbones.networks.encoders.calls import (
    AST,
    AST_HOP_S,
    AST_WINDOW_S,
    WHISPER,
    audio_encoder,
    encode,
    is_clap,
    pads_as_ast,
    prepare,
    valid_frames,
)
from features.backbones.options import EncoderInterface
from features.errors import ConfigError, UserError

LONG_S = 10.0


@dataclass(frozen=True)
class EncoderShape:
    """Input lengths and output shape of an encoder.

    Attributes:
        n_layers: L.
        dim: D.
        frame_rate: Frames per second.
        min_samples: The shortest clip that it takes, in samples.
        max_samples: The longest clip that is not truncated, in samples; None: no limit.
    """

    n_layers: int
    dim: int
    frame_rate: float
    min_samples: int
    max_samples: int | None


def shape_of(
    name: str,
    build: Callable[[], nn.Module],
    part: str,
    extractor: Any,
    embedding: str,
    interface: EncoderInterface | None = None,
) -> EncoderShape:
    """Measure an encoder's shape on the meta device, or with random weights if that fails.

    Args:
        name: The backbone, for messages.
        build: Builds the whole model.
        part: Name of the audio encoder's submodule.
        extractor: Its feature extractor.
        embedding: `frames` or `pooled`.
        interface: How frames are obtained, if not as from transformers' encoders.

    Raises:
        ConfigError: The encoder cannot embed audio, or has no such embedding.
    """
    for device in ("meta", "cpu"):
        try:
            with torch.device(device):
                whole = build()
        except UserError:
            raise
        except Exception as error:  # published code may read values of its tensors, which the meta device lacks
            if device == "cpu":
                raise ConfigError(f"{name}: its model cannot be built: {described(error)}") from error
            continue
        try:
            module = audio_encoder(whole, part, interface, embedding).eval()
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None
        kind, rate = module.config.model_type, int(extractor.sampling_rate)
        if is_clap(module):
            longest = extractor.nb_max_samples
            return EncoderShape(1, module.config.hidden_size, rate / longest, rate // 10, longest)
        if kind in CODECS:
            return EncoderShape(1, module.config.hidden_size, rate / hop_of(module.config), rate // 10, None)
        if embedding == "pooled" and kind != AST and interface is None:
            raise ConfigError(f"{name}: embedding: pooled is for AST; {kind} has only frames")
        try:
            return _measured(module, extractor, embedding, device)
        except Exception as error:
            problem = error
    raise ConfigError(f"{name}: {kind} cannot embed audio with {type(extractor).__name__}: {described(problem)}")


def _measured(module: Any, extractor: Any, embedding: str, device: str) -> EncoderShape:
    """Measure the shape of an encoder's output for noise."""
    rate, kind = int(extractor.sampling_rate), module.config.model_type
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(LONG_S * rate)).astype(np.float32)

    def run(n_samples: int) -> tuple[int, int, int, int]:
        inputs = {key: value.to(device) for key, value in prepare(extractor, module, noise[:n_samples]).items()}
        with torch.inference_mode():
            values = encode(module, inputs, embedding)
        n_layers, n_frames, dim = values.shape[1:]
        return n_layers, n_frames, valid_frames(module, extractor, n_samples, n_frames), dim

    limit = module.max_samples(rate) if isinstance(module, InterfacedEncoder) else None
    noise = noise[:limit]
    n_layers, padded_frames, most, dim = run(len(noise))
    for seconds in SHORTEST_S:
        shortest = round(seconds * rate)
        try:
            least = run(shortest)[2]
            break
        except Exception:
            if seconds == SHORTEST_S[-1]:
                raise
    longest = limit
    if kind == AST or pads_as_ast(module, extractor):
        longest = round((extractor.max_length - 1) * AST_HOP_S * rate + AST_WINDOW_S * rate)
    elif kind == WHISPER or isinstance(module, MaskedEncoder):
        longest = extractor.n_samples
    if most == least:
        frame_rate = most / LONG_S if longest is None else rate / longest
    elif pads_as_ast(module, extractor):
        frame_rate = padded_frames / (AST_HOP_S * extractor.max_length)
    elif isinstance(module, MaskedEncoder):
        frame_rate = padded_frames * rate / extractor.n_samples
    elif kind == AST:
        frame_rate = 1 / (AST_HOP_S * module.config.time_stride)
    else:
        frame_rate = (most - least) * rate / (len(noise) - shortest)
    return EncoderShape(n_layers, dim, frame_rate, shortest, longest)
