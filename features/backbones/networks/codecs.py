"""Encoders of neural codecs (EnCodec, DAC, Mimi): their continuous output, before it is quantised."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CODECS = ("encodec", "dac", "mimi")
# transformers keeps these numbers of EnCodec's and Mimi's convolutions as tensors
SHAPE_BUFFERS = ("stride", "kernel_size", "padding_total")


def check_codec(config: Any) -> None:
    """Raise `ValueError` for the configuration of a codec that does not encode mono clips as they are."""
    if config.model_type not in CODECS:
        return
    if getattr(config, "audio_channels", 1) != 1:
        raise ValueError(f"audio_channels is {config.audio_channels}; only codecs of mono audio are supported")
    if getattr(config, "chunk_length_s", None) is not None or getattr(config, "normalize", False):
        raise ValueError("chunk_length_s or normalize is set; only codecs that encode a clip as it is are supported")


def hop_of(config: Any) -> int:
    """Return the samples from one frame of a codec to the next."""
    return int(config.frame_size if config.model_type == "mimi" else config.hop_length)


class CodecEncoder(nn.Module):
    """The part of a codec before its quantiser."""

    def __init__(self, encoder: nn.Module, config: Any) -> None:
        """Wrap the encoder of a codec.

        Args:
            encoder: A module that encodes waveforms (B, 1, T).
            config: The configuration of the whole codec.
        """
        super().__init__()
        self.encoder = encoder
        self.config = config

    def forward(self, input_values: Tensor) -> Tensor:
        """Encode waveforms of equal length, (B, 1, T), to frames (B, F, D)."""
        return (self._mimi(input_values) if self.config.model_type == "mimi" else self.encoder(input_values)).mT

    def _mimi(self, input_values: Tensor) -> Tensor:
        """Return `MimiEncoderModel`'s latents (B, D, F); its own mask would be read, and the host would wait for it."""
        parts: Any = self.encoder
        hidden = parts.encoder_seanet(input_values).mT  # [B, F, D]
        everything = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        hidden = parts.encoder_transformer(hidden, attention_mask=everything).last_hidden_state
        return parts.downsample(hidden.mT)

    def _apply(self, fn: Any, recurse: bool = True) -> CodecEncoder:
        """Move the weights; sizes of padding are computed on the host, which must not wait for a device."""
        kept = {
            (module, name): buffer
            for module in self.modules()
            for name in SHAPE_BUFFERS
            if isinstance(buffer := module._buffers.get(name), torch.Tensor)
        }
        super()._apply(fn, recurse)
        for (module, name), buffer in kept.items():
            module._buffers[name] = buffer
        return self
