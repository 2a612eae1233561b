"""The contract between `heads.training.train` and each head type: how all fits of a head train as one job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from features.labels import Task
from heads.options import Configuration, HeadOptions

if TYPE_CHECKING:
    import torch

    from heads.batched.blocks import BlockFit, Loader, Place

State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Job:
    """One head to train on some blocks: every configuration on every block with every seed.

    Attributes:
        options: The head.
        grid: The configurations to train.
        seeds: One fit each; a head that no seed changes trains once.
        task: What its outputs are.
        n_outputs: C; 1 for regression.
        n_train: The most training rows of a block.
        dim: D.
        n_layers: L; what a head that reads all layers sees.
        device: Where to train.
        epochs: Of each seed: train exactly so long and keep the last state, for blocks without
            validation rows; None: validation says when to stop, or the options' `max_epochs`.
    """

    options: HeadOptions
    grid: tuple[Configuration, ...]
    seeds: tuple[int, ...]
    task: Task
    n_outputs: int
    n_train: int
    dim: int
    n_layers: int
    device: torch.device
    epochs: tuple[int, ...] | None = None


Trainer: TypeAlias = "Callable[[Sequence[Place], Loader, Job], Iterator[BlockFit]]"
"""Trains a job on some blocks and yields one candidate per block and configuration, in any order."""

Predictor = Callable[[State, Any, Task], np.ndarray]
"""What a trained state says of raw features: probabilities (n, C), or values (n, 1), float32."""

Graph: TypeAlias = "Callable[[Mapping[str, torch.Tensor], torch.Tensor], torch.Tensor]"
"""Scores (n, C) of raw features, before softmax or sigmoid, from a trained state: both as float32 tensors."""


@dataclass(frozen=True)
class HeadType:
    """All that the program knows about one head. Its module has it under the name `HEAD`.

    Attributes:
        options: What a user can set.
        fit: Its trainer.
        predict: Its predictor. Features: (n, D), or (n, L, D) for a head that reads all layers, or a
            sequence of (F, D) for one that reads frames.
        apart: Its fits share no arithmetic, so all splits can train as one group on any device.
        graph: Its scores as torch operations, for an export to ONNX; of a head that reads frames, one clip
            at a time, (1, F, D). None: such an export is refused.
        no_graph: Why it has no graph, as the end of the sentence "a head knn …".
        check: Takes its options and a task, and raises `ConfigError` for options that cannot be trained, before
            any training; the message starts with the option's name. None: its options can all be trained.
    """

    options: type[HeadOptions]
    fit: Trainer
    predict: Predictor
    apart: bool = False
    graph: Graph | None = None
    no_graph: str = "has no torch graph"
    check: Callable[[Any, Task], object] | None = None
