"""The contract between `heads.training.train` and each head type: how all fits of a head train as one job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from features.labels import Task
from heads.batched.blocks import Fitted, Loader, Place
from heads.options import Configuration, HeadOptions

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


Trainer = Callable[[Sequence[Place], Loader, Job], Iterator[Fitted]]
"""Trains a job on some blocks and yields one candidate per block and configuration, in any order."""

Predictor = Callable[[State, Any, Task], np.ndarray]
"""What a trained state says of raw features: probabilities (n, C), or values (n, 1), float32."""


@dataclass(frozen=True)
class Kind:
    """How a head trains and predicts.

    Attributes:
        fit: Its trainer.
        predict: Its predictor. Features: (n, D), or (n, L, D) for a head that reads all layers, or a
            sequence of (F, D) for one that reads frames.
        apart: Its fits share no arithmetic, so all splits can train as one group on any device.
    """

    fit: Trainer
    predict: Predictor
    apart: bool = False
