"""Parts of transformers' encoders during which the host waits for a device, replaced by equal ones without that."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import (
    Wav2Vec2ConformerRotaryPositionalEmbedding,
)

READ, UNREAD = "sdpa", "sdpa_unread_mask"


def wait_never(module: nn.Module) -> None:
    """Replace the parts of an encoder during which a GPU's host waits."""
    _leave_masks_unread(module)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Wav2Vec2ConformerRotaryPositionalEmbedding):
                setattr(parent, name, RotaryPositions(cast(Tensor, child.inv_freq)))


class RotaryPositions(nn.Module):
    """`Wav2Vec2ConformerRotaryPositionalEmbedding` with positions counted on the device, and without its cache.

    The cached tensors of a clip that was embedded without gradients cannot be used in training.
    """

    inv_freq: Tensor

    def __init__(self, inv_freq: Tensor) -> None:
        """Store the frequencies (D / 2,)."""
        super().__init__()
        self.register_buffer("inv_freq", inv_freq)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return cosine and sine (2, F, 1, 1, D) of the positions of frames (B, F, …)."""
        positions = torch.arange(hidden_states.shape[1], device=self.inv_freq.device, dtype=self.inv_freq.dtype)
        angles = positions[:, None] * self.inv_freq
        angles = torch.cat((angles, angles), dim=-1)[:, None, None, :]
        return torch.stack([angles.cos(), angles.sin()]).type_as(hidden_states)


def _leave_masks_unread(module: nn.Module) -> None:
    """Let an encoder with torch's attention always use its mask.

    For each mask, transformers otherwise asks whether it masks anything, and a GPU's host waits for the answer.
    """
    if isinstance(module, PreTrainedModel) and module.config._attn_implementation == READ:
        AttentionInterface.register(UNREAD, AttentionInterface()[READ])
        AttentionMaskInterface.register(UNREAD, _mask)
        module.set_attn_implementation(UNREAD)


def _mask(*given: Any, **named: Any) -> Any:
    """Return the mask of transformers; None only if no padding mask is given."""
    if named.get("attention_mask") is not None:
        named |= {"allow_is_bidirectional_skip": False, "allow_is_causal_skip": False}
    return AttentionMaskInterface()[READ](*given, **named)
