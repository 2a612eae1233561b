"""Audio Flamingo 3's encoder, which masks the padding of its feature extractor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

MASKED = ("audioflamingo3_encoder",)


class MaskedEncoder(nn.Module):
    """An encoder of log-mels padded to one length, with the `forward` of transformers' other encoders.

    Attributes:
        config: The encoder's configuration.
    """

    def __init__(self, encoder: Any) -> None:
        """Wrap an encoder whose `forward` takes `input_features_mask`."""
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config

    def forward(
        self, input_features: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> BaseModelOutput:
        """Encode log-mels (B, D, F), F those of 30 s.

        Args:
            input_features: What the feature extractor returns.
            attention_mask: (B, F), 1 at frames of the clip and 0 at padding; None: nothing is padded.
            output_hidden_states: Whether to return the hidden states, too.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_features[:, 0], dtype=torch.int32)
        return self.encoder(
            input_features, input_features_mask=attention_mask, output_hidden_states=output_hidden_states
        )

    def count_frames(self, n_inputs: int) -> int:
        """Return the number of frames that the encoder gives for a clip of `n_inputs` frames of log-mels."""
        return int(self.encoder._get_feat_extract_output_lengths(n_inputs)[1])
