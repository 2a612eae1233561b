"""The interface between `heads.training.train` and the head types: all fits of a head are trained as one job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from features.labels import Task
from heads.options import Configuration, HeadOptions

if TYPE_CHECKING:
    import torch

    from heads.batched.blocks import Block, BlockFit, Loader, Place

State = Mapping[str, np.ndarray]
MEMORY_BYTES = 2**31  # memory of a job by default


class ReadState(Mapping[str, np.ndarray]):
    """A state whose training rows are read from the features when they are asked for, instead of held for every fit.

    Attributes:
        held: The other arrays.
        rows: Name of the array of the training rows.
    """

    def __init__(self, held: Mapping[str, np.ndarray], rows: str, load: Callable[[], Block]) -> None:
        """Hold some arrays; `load` returns the block with the training rows."""
        self.held, self.rows, self._load = held, rows, load

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array, shape (n, D) float32 for the training rows."""
        return self._load().train.cpu().numpy() if name == self.rows else self.held[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all arrays."""
        yield from (*self.held, self.rows)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self.held) + 1


@dataclass(frozen=True)
class Job:
    """One head to train on some blocks: every configuration on every block with every seed.

    Attributes:
        options: The head.
        grid: The configurations to train.
        seeds: One fit per seed; a deterministic head is trained once.
        task: The task, which determines the kind of outputs.
        n_outputs: C; 1 for regression.
        n_train: The largest number of training rows of a block.
        dim: D.
        n_layers: L, the number of layers that a head of all layers reads.
        device: Device to train on.
        epochs: Per seed, the exact number of epochs, after which the last state is kept; for blocks without
            validation rows. None: training stops early by validation, or after the options' `max_epochs`.
        cores: Number of fits that a CPU computes at once, each on one thread.
        n_valid: The largest number of validation rows of a block.
        memory: Bytes that rows and fits may take on the device; the results do not depend on it.
        note: Called with one line about how the job is divided, if it is large; None: it is not printed.
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
    cores: int = 1
    n_valid: int = 0
    memory: int = MEMORY_BYTES
    note: Callable[[str], None] | None = None


Trainer: TypeAlias = "Callable[[Sequence[Place], Loader, Job], Iterator[BlockFit]]"
"""Trains a job on some blocks and yields one candidate per block and configuration, in any order."""

Predictor = Callable[[State, Any, Task], np.ndarray]
"""Predicts from a trained state and raw features: probabilities (n, C), or values (n, 1), float32."""

Graph: TypeAlias = "Callable[[Mapping[str, torch.Tensor], torch.Tensor], torch.Tensor]"
"""Computes scores (n, C), before softmax or sigmoid, from a trained state and raw features, both float32 tensors."""


@dataclass(frozen=True)
class HeadType:
    """The definition of a head. Every head module exports it as `HEAD`.

    Attributes:
        options: The class of its options.
        fit: Its trainer.
        predict: Its predictor. Features are (n, D), (n, L, D) for a head that reads all layers, or a
            sequence of (F, D) or (F, L, D) for one that reads frames.
        minibatches: Its trainer reads rows in minibatches: its loader returns a
            `heads.batched.vector_blocks.VectorBlock` instead of a `heads.batched.blocks.Block`, and a head of all
            layers predicts from `heads.batched.vectors.LayerRows`.
        apart: Its splits share no computation on a CPU, so all of them can be trained as one group on any device.
        graph: Its scores as torch operations, for ONNX export; for a head that reads frames, one clip at a
            time, (1, F, D) or (1, F, L, D). None: the head cannot be exported to ONNX.
        no_graph: Why it has no graph, as the end of the sentence "a head knn …".
        check: Function of options and task that raises `ConfigError` if the options cannot be trained; the
            message starts with the option's name. None: all valid options can be trained.
    """

    options: type[HeadOptions]
    fit: Trainer
    predict: Predictor
    minibatches: bool = False
    apart: bool = False
    graph: Graph | None = None
    no_graph: str = "has no torch graph"
    check: Callable[[Any, Task], object] | None = None

    def scores(self, state: State, features: Any) -> np.ndarray:
        """Compute the scores before softmax or sigmoid, shape (n, C) float32, of a head that has a graph.

        The predictor of such a head returns its scores unchanged in `regression`, unless the state scales values.
        """
        return self.predict(state, features, "regression")
