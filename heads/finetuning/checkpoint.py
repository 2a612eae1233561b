"""The training state of a fit, and the Lightning callbacks that save it and stop training."""

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
    """The progress of a fit.

    Attributes:
        curves: The metrics of each finished epoch.
        seconds: Time spent training and validating, over all runs of this fit.
        stopped: Whether early stopping has ended the fit.
    """

    curves: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.curves)

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest validation log loss, counted from 0; -1 before any epoch has finished."""
        losses = [row[MONITOR] for row in self.curves]
        return min(range(len(losses)), key=lambda epoch: (math.isnan(losses[epoch]), losses[epoch]), default=-1)

    @property
    def best_loss(self) -> float:
        """The log loss of the best epoch; infinite before any epoch has finished."""
        return self.curves[self.best_epoch][MONITOR] if self.curves else math.inf

    def is_over(self, max_epochs: int) -> bool:
        """Whether training has finished or stopped early."""
        return self.stopped or self.epochs >= max_epochs


def read_state(folder: Path) -> TrainingState | None:
    """Read the state of an earlier run of this fit; None if it finished no epoch, or is from an older version."""
    path = folder / LAST_FILE
    if not path.is_file():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get(STATE_KEY)
    return state and TrainingState(**state)


def read_best(folder: Path, state: TrainingState) -> dict[str, torch.Tensor]:
    """Read the weights of the best epoch, as the Lightning module's state dict."""
    path = folder / f"{BEST_FILE.format(epoch=state.best_epoch)}.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def checkpoint_callbacks(folder: Path, patience: int | None) -> list[Callback]:
    """Return the callbacks for early stopping and for the checkpoints of the best and the last epoch.

    Args:
        folder: Folder of the checkpoints.
        patience: Epochs without a lower validation log loss after which training stops; None: never.
    """
    # The best weights are written before `last.ckpt`. After a kill between the two, `last.ckpt` is from the previous
    # epoch and needs the best weights of that time. Therefore two files of best weights are kept.
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
    """Write a checkpoint to a temporary file in its folder, then rename it.

    Lightning's own class writes to the system's temporary folder. If that is on another file system, moving the file
    is a copy, and a kill can leave an incomplete file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint atomically."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
