"""A softmax-weighted sum of the frames of all layers, attention pooling over it, and one linear layer."""

from __future__ import annotations

from typing import Literal

from heads.batched.job import HeadType
from heads.kinds.attention import AttentionOptions, attention_graph, fit_attention, predict_attention


class LayerAttentionOptions(AttentionOptions):
    """Attention pooling over frames whose layers are summed with trained weights, as in SUPERB (arXiv 2105.01051).

    `layers` selects the layers that are summed. Layers are standardised separately, and all their weights start equal.
    """

    reads = "layer-frames"

    name: Literal["layer-attention"] = "layer-attention"  # type: ignore[assignment]
    layers: Literal["all", "last"] | list[int] = "all"


HEAD = HeadType(LayerAttentionOptions, fit_attention, predict_attention, apart=True, graph=attention_graph)
