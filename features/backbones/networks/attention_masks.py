"""Attention masks of transformers that are built without reading their values."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

READ, UNREAD = "sdpa", "sdpa_unread_mask"


def leave_masks_unread(module: nn.Module) -> None:
    """Let an encoder with torch's attention always use its mask.

    For each mask, transformers otherwise asks whether it masks anything, and a GPU's host waits for the answer.
    """
    if not isinstance(module, PreTrainedModel) or module.config._attn_implementation != READ:
        return
    AttentionInterface.register(UNREAD, AttentionInterface()[READ])
    AttentionMaskInterface.register(UNREAD, _mask)
    module.set_attn_implementation(UNREAD)


def _mask(*given: Any, **named: Any) -> Any:
    """Return the mask of transformers; None only if no padding mask is given."""
    if named.get("attention_mask") is not None:
        named["allow_is_bidirectional_skip"] = False
    return AttentionMaskInterface()[READ](*given, **named)
