"""Torch modules of trained models for the ONNX export: float32 arithmetic without masked batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import UserError
from features.labels import Task
from features.pooling import POOLINGS
from heads.batched.job import Graph
from heads.kinds.registry import head_type
from heads.training.checkpoint import SavedHead
from pipeline.exporting.calibration_graph import CalibrationGraph
from pipeline.predicting.fitted import HeadEnsemble, NetworkEnsemble


class HeadGraph(nn.Module):
    """One trained head, see `heads.batched.job.HeadType.graph`."""

    def __init__(self, head: SavedHead, arithmetic: Graph) -> None:
        """Copy the arrays of a head."""
        super().__init__()
        self.arithmetic, self.names = arithmetic, tuple(head.state)
        for name, values in head.state.items():
            self.register_buffer(name, _tensor(values))

    def forward(self, features: Tensor) -> Tensor:
        """Map raw features (n, D) or (n, L, D), or frames (1, F, D) of one clip, to scores (n, C)."""
        return self.arithmetic({name: getattr(self, name) for name in self.names}, features)


class Heads(nn.Module):
    """The mean of the outputs of several heads.

    Attributes:
        layers: Backbone layers in the input, in order.
    """

    def __init__(self, fitted: HeadEnsemble, all_layers: Sequence[int]) -> None:
        """Build the graphs of an ensemble.

        Args:
            fitted: The heads.
            all_layers: All layers of the backbone.

        Raises:
            UserError: Heads of this type have no graph.
        """
        super().__init__()
        name = fitted.heads[0].head
        found = head_type(name)
        if found.graph is None:
            raise UserError(f"--format onnx: a head {name} {found.no_graph}; use --format audioheads")
        self.heads = nn.ModuleList([HeadGraph(head, found.graph) for head in fitted.heads])
        self.task, self.reads = fitted.task, fitted.reads
        if self.reads in ("layers", "layer-frames"):
            self.layers = list(fitted.stage1.get("layers", all_layers))
            self.layer_positions: list[int] = []
        else:
            self.layers = sorted({int(head.layer) for head in fitted.heads})
            self.layer_positions = [self.layers.index(int(head.layer)) for head in fitted.heads]
        self.calibrations = nn.ModuleList(
            nn.Identity() if head.calibrator is None else CalibrationGraph(head.calibrator, head.task)
            for head in fitted.heads
        )
        self.targets = [head.state.get("target", (0.0, 1.0)) for head in fitted.heads]

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, L, D) or frames (1, L, F, D) of `layers` to probabilities (n, C) or values (n, 1)."""
        outputs = []
        for at, head in enumerate(self.heads):
            scores = head(self._input_of(at, features))
            mean, scale = self.targets[at]
            values = scores * float(scale) + float(mean) if self.task == "regression" else scores
            outputs.append(self.calibrations[at](_activated(values, self.task)))
        return torch.stack(outputs).mean(0)

    def _input_of(self, at: int, features: Tensor) -> Tensor:
        """Return what one head reads, see `heads.batched.job.HeadType`."""
        if self.reads == "layer-frames":
            return features.transpose(1, 2)  # [1, F, L, D]
        return features[:, self.layer_positions[at]] if self.layer_positions else features


class Whole(nn.Module):
    """Backbone graph, pooling and heads for the waveform of one clip."""

    def __init__(self, graph: nn.Module, heads: Heads, poolings: Sequence[str], layer_positions: Sequence[int]) -> None:
        """Combine the parts.

        Args:
            graph: Maps the waveform of a clip (1, T) to frames (1, L, F, D).
            heads: The heads.
            poolings: Those of the heads.
            layer_positions: Position in L of each layer that the heads read.
        """
        super().__init__()
        self.encoder, self.heads = graph, heads  # torch.fx reserves the name `graph`
        self.poolings = [name for name in POOLINGS if name in poolings]
        self.layer_positions = list(layer_positions)

    def forward(self, waveform: Tensor) -> Tensor:
        """(1, T) to (1, C)."""
        frames = self.encoder(waveform)[:, self.layer_positions]  # [1, L, F, D]
        if self.heads.reads in ("frames", "layer-frames"):
            return self.heads(frames)
        pooled = {
            "mean": lambda: frames.mean(2),
            "std": lambda: frames.var(2, correction=0).clamp(min=0).sqrt(),
            "max": lambda: frames.amax(2),
        }
        return self.heads(torch.cat([pooled[name]() for name in self.poolings], dim=2))


class Networks(nn.Module):
    """The mean class probabilities of several networks for windows padded to full length."""

    def __init__(self, fitted: NetworkEnsemble) -> None:
        """Build the graphs of an ensemble."""
        super().__init__()
        self.networks = nn.ModuleList(fitted.networks)

    def forward(self, windows: Tensor) -> Tensor:
        """(n, F, D) to (n, C)."""
        lengths = torch.full((windows.shape[0],), windows.shape[1])
        return torch.stack([network(windows, lengths).softmax(1) for network in self.networks]).mean(0)


class EndToEndGraph(nn.Module):
    """The mean probabilities of several end-to-end networks for one waveform window."""

    def __init__(self, fitted: NetworkEnsemble) -> None:
        """Build the graphs of an ensemble.

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
