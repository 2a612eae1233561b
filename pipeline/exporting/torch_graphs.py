"""Trained models as torch modules that become ONNX graphs: plain arithmetic in float32, no batches to mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import UserError
from features.labels import Task
from features.pooling import POOLINGS
from heads.batched.inference import NORM_EPS, count_layers
from heads.training.checkpoint import SavedHead
from pipeline.predicting.fitted import HeadEnsemble, NetworkEnsemble


class LayersHead(nn.Module):
    """Linear layers with ReLU between them, see `heads.batched.inference.predict_layers`."""

    mean: Tensor
    scale: Tensor
    weight_0: Tensor
    bias_0: Tensor

    def __init__(self, head: SavedHead) -> None:
        """Take over a head's arrays."""
        super().__init__()
        self.depth = count_layers(head.state)
        for name, values in head.state.items():
            self.register_buffer(name, _tensor(values))

    def forward(self, features: Tensor) -> Tensor:
        """Raw features (n, D) to scores (n, C)."""
        x = (features - self.mean) / self.scale
        for at in range(self.depth):
            x = x @ getattr(self, f"weight_{at}") + getattr(self, f"bias_{at}")
            if hasattr(self, f"gain_{at}"):
                x = (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, correction=0, keepdim=True) + NORM_EPS)
                x = x * getattr(self, f"gain_{at}") + getattr(self, f"shift_{at}")
            if at < self.depth - 1:
                x = x.relu()
        return x


class WeightedSumHead(LayersHead):
    """See `heads.kinds.weighted_sum.predict_weighted_sum`."""

    layer_weights: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Raw features (n, L, D) to scores (n, C)."""
        x = (features - self.mean) / self.scale
        return (x * self.layer_weights[:, None]).sum(1) @ self.weight_0 + self.bias_0


class AttentionHead(LayersHead):
    """See `heads.attention.predict_attention`."""

    attention_weight: Tensor
    attention_bias: Tensor
    attention_score: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Raw frames (1, F, D) of one clip to scores (1, C)."""
        x = (features - self.mean) / self.scale
        scores = torch.tanh(x @ self.attention_weight + self.attention_bias) @ self.attention_score
        return (scores.softmax(1)[:, :, None] * x).sum(1) @ self.weight_0 + self.bias_0


HEADS: dict[str, type[LayersHead]] = {
    "linear": LayersHead,
    "mlp": LayersHead,
    "weighted-sum": WeightedSumHead,
    "attention": AttentionHead,
}


class Heads(nn.Module):
    """The mean of some heads' outputs.

    Attributes:
        layers: Backbone layers that the input holds, in order.
    """

    def __init__(self, fitted: HeadEnsemble, all_layers: Sequence[int]) -> None:
        """Take over an ensemble.

        Args:
            fitted: The heads.
            all_layers: The backbone's.

        Raises:
            UserError: There is no graph for heads of that kind.
        """
        super().__init__()
        kind = fitted.heads[0].head
        if kind not in HEADS:
            why = "asks its training clips" if kind == "knn" else "is no arithmetic on arrays"
            raise UserError(f"--format onnx: a head {kind} {why}; use --format audioheads")
        self.heads = nn.ModuleList([HEADS[kind](head) for head in fitted.heads])
        self.task, self.reads = fitted.task, fitted.reads
        if self.reads == "layers":
            self.layers = list(fitted.stage1.get("layers", all_layers))
            self.places: list[int] = []
        else:
            self.layers = sorted({int(head.layer) for head in fitted.heads})
            self.places = [self.layers.index(int(head.layer)) for head in fitted.heads]
        self.targets = [head.state.get("target", (0.0, 1.0)) for head in fitted.heads]

    def forward(self, features: Tensor) -> Tensor:
        """Features (n, L, D), or frames (1, L, F, D), of `layers`, to probabilities (n, C) or values (n, 1)."""
        outputs = []
        for at, head in enumerate(self.heads):
            scores = head(features[:, self.places[at]] if self.places else features)
            mean, scale = self.targets[at]
            outputs.append(
                _activated(scores * float(scale) + float(mean) if self.task == "regression" else scores, self.task)
            )
        return torch.stack(outputs).mean(0)


class Whole(nn.Module):
    """One clip's waveform through a backbone's graph, pooling and heads."""

    def __init__(self, graph: nn.Module, heads: Heads, poolings: Sequence[str], all_layers: Sequence[int]) -> None:
        """Put them together; `poolings` are the heads'."""
        super().__init__()
        self.encoder, self.heads = graph, heads  # `graph` is a name that torch.fx keeps to itself
        self.poolings = [name for name in POOLINGS if name in poolings]
        self.places = [list(all_layers).index(layer) for layer in heads.layers]

    def forward(self, waveform: Tensor) -> Tensor:
        """(1, T) to (1, C)."""
        frames = self.encoder(waveform)[:, self.places]  # [1, L, F, D]
        if self.heads.reads == "frames":
            return self.heads(frames)
        pooled = {
            "mean": lambda: frames.mean(2),
            "std": lambda: frames.var(2, correction=0).clamp(min=0).sqrt(),
            "max": lambda: frames.amax(2),
        }
        return self.heads(torch.cat([pooled[name]() for name in self.poolings], dim=2))


class Networks(nn.Module):
    """The mean of some networks' class probabilities, of windows that are padded to their whole length."""

    def __init__(self, fitted: NetworkEnsemble) -> None:
        """Take over an ensemble."""
        super().__init__()
        self.networks = nn.ModuleList(fitted.networks)

    def forward(self, windows: Tensor) -> Tensor:
        """(n, F, D) to (n, C)."""
        lengths = torch.full((windows.shape[0],), windows.shape[1])
        return torch.stack([network(windows, lengths).softmax(1) for network in self.networks]).mean(0)


class EndToEndGraph(nn.Module):
    """The mean of some end-to-end networks' probabilities, of one window of waveform."""

    def __init__(self, fitted: NetworkEnsemble) -> None:
        """Take over an ensemble.

        Raises:
            UserError: The backbone has no graph.
        """
        super().__init__()
        models: list[Any] = [network.model for network in fitted.networks]
        graphs = [model.encoder.graph() for model in models]
        if None in graphs:
            raise UserError(f"--format onnx: {fitted.options.name} has no graph; use --format audioheads")
        self.graphs = nn.ModuleList(graphs)
        self.heads = nn.ModuleList([model.head for model in models])

    def forward(self, waveform: Tensor) -> Tensor:
        """(1, T) to (1, C)."""
        pairs = zip(self.graphs, self.heads, strict=True)
        return torch.stack([head(graph(waveform)[:, -1].mean(1)).softmax(1) for graph, head in pairs]).mean(0)


def _activated(scores: Tensor, task: Task) -> Tensor:
    if task == "single-label":
        return scores.softmax(1)
    return scores.sigmoid() if task == "multi-label" else scores


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32).copy())
