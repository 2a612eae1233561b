"""How far a fit has come, and the Lightning callbacks that record it and decide when it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from features.system.atomic_write import atomic_write

MONITOR = "valid/loss"
LAST_FILE = "last.ckpt"
BEST_FILE = "best-{epoch:04d}"
STATE_KEY = "training_state"


@dataclass
class TrainingState:
    """How a fit has gone so far.

    Attributes:
        curves: The metrics of each finished epoch.
        seconds: Spent training and validating, over all runs of this fit.
        stopped: Whether early stopping has ended it.
    """

    curves: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return len(self.curves)

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest validation log loss, from 0; -1 before the first."""
        losses = [row[MONITOR] for row in self.curves]
        return min(range(len(losses)), key=lambda epoch: (math.isnan(losses[epoch]), losses[epoch]), default=-1)

    @property
    def best_loss(self) -> float:
        """The log loss of that epoch; infinite before the first."""
        return self.curves[self.best_epoch][MONITOR] if self.curves else math.inf

    def is_over(self, max_epochs: int) -> bool:
        """Whether there is nothing left to train."""
        return self.stopped or self.epochs >= max_epochs


def read_state(folder: Path) -> TrainingState | None:
    """How far an earlier run of this fit came; None if it finished no epoch, or is of an older version."""
    path = folder / LAST_FILE
    if not path.is_file():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get(STATE_KEY)
    return state and TrainingState(**state)


def read_best(folder: Path, state: TrainingState) -> dict[str, torch.Tensor]:
    """The weights of the best epoch, as the Lightning module's state dict."""
    path = folder / f"{BEST_FILE.format(epoch=state.best_epoch)}.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def checkpoint_callbacks(folder: Path, patience: int | None) -> list[Callback]:
    """What stops a fit, keeps its best weights, and keeps all that is needed to resume it.

    Args:
        folder: Where the checkpoints are written.
        patience: Epochs without a lower validation log loss after which training stops; None: never.
    """
    # The best weights are written before `last.ckpt`. A kill between the two leaves a `last.ckpt` of the epoch
    # before, so the weights that were the best then have to be there still: hence two files.
    best = ModelCheckpoint(
        folder,
        BEST_FILE,
        monitor=MONITOR,
        save_top_k=2,
        save_weights_only=True,
        auto_insert_metric_name=False,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    last = ModelCheckpoint(folder, Path(LAST_FILE).stem, save_on_train_epoch_end=True, enable_version_counter=False)
    if patience is None:
        return [best, last]
    return [EarlyStopping(MONITOR, patience=patience, check_finite=False, check_on_train_epoch_end=True), best, last]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint next to its place, then rename it.

    Lightning's own writes to the system's temporary folder. If that is on another file system, moving the file
    is a copy, and a kill leaves half of it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; it appears whole or not at all."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
