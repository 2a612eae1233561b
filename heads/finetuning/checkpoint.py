"""What a fit keeps at the end of each epoch: its state to go on from, the best weights, the curves; when to stop."""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from features.system.atomic_write import atomic_write, remove_leftovers

LAST_FILE = "last.ckpt"
OVER_FILE = "course.json"  # in place of it once there is nothing left to train
STATE_KEY = "audioheads"


@dataclass
class Course:
    """How a fit has gone so far.

    Attributes:
        epochs: Finished epochs.
        best_epoch: The one with the lowest validation log loss, from 0; -1 before the first.
        best_loss: That log loss.
        seconds: Spent training and validating, over all runs of this fit.
        curves: The numbers of each finished epoch.
    """

    epochs: int = 0
    best_epoch: int = -1
    best_loss: float = math.inf
    seconds: float = 0.0
    curves: list[dict[str, float]] = field(default_factory=list)

    def is_over(self, max_epochs: int, patience: int | None) -> bool:
        """Whether there is nothing left to train."""
        waited = patience is not None and self.epochs - 1 - self.best_epoch >= patience
        return self.epochs >= max_epochs or (self.epochs > 0 and waited)


def read_course(folder: Path) -> Course | None:
    """How far an earlier run of this fit came; None where it finished no epoch."""
    over = folder / OVER_FILE
    if over.is_file():
        return Course(**json.loads(over.read_text(encoding="utf-8")))
    path = folder / LAST_FILE
    if not path.is_file():
        return None
    return Course(**torch.load(path, map_location="cpu", weights_only=True, mmap=True)[STATE_KEY])


def best_file(folder: Path, course: Course) -> Path:
    """Where the best epoch's weights lie."""
    return folder / f"best-{course.best_epoch:04d}.safetensors"


def load_best(folder: Path, course: Course, network: nn.Module) -> None:
    """Put the best epoch's weights into a network."""
    network.load_state_dict(load_file(best_file(folder, course)))


class Keeper:
    """Writes a fit's folder at the end of each epoch; every file appears whole or not at all.

    The best weights come first, then `last.ckpt` (or, at the end, `course.json`), which names them; older
    best weights go last. So a kill at any moment leaves a state whose best weights are there.
    """

    def __init__(
        self, folder: Path, course: Course, max_epochs: int, patience: int | None, metadata: dict[str, str]
    ) -> None:
        """Keep in `folder`, going on from `course`; `metadata` goes into the weights files."""
        self.folder = folder
        self.course = course
        self.max_epochs = max_epochs
        self.patience = patience
        self.metadata = metadata
        self._started = time.perf_counter() - course.seconds

    def close_epoch(self, trainer: lightning.Trainer, network: nn.Module, metrics: dict[str, float]) -> bool:
        """Write everything down.

        Args:
            trainer: Whose state to keep.
            network: Whose weights to keep when they are the best so far.
            metrics: The epoch's numbers; `valid/loss` decides.

        Returns:
            Whether training is over.
        """
        course = self.course
        course.curves.append(dict(metrics))
        if course.best_epoch < 0 or metrics["valid/loss"] < course.best_loss:
            course.best_epoch, course.best_loss = course.epochs, metrics["valid/loss"]
            if trainer.is_global_zero:
                self._save_best(network)
        course.epochs += 1
        course.seconds = time.perf_counter() - self._started
        over = course.is_over(self.max_epochs, self.patience)
        path = self.folder / (OVER_FILE if over else LAST_FILE)
        with atomic_write(path) if trainer.is_global_zero else nullcontext(path) as temporary:
            if not over:
                trainer.save_checkpoint(temporary)  # every process takes part, only the first one writes
            elif trainer.is_global_zero:
                temporary.write_text(json.dumps(self.state()), encoding="utf-8")
        if trainer.is_global_zero:
            remove_leftovers(self.folder)  # of killed runs
            for old in self.folder.glob("best-*.safetensors"):
                if old != best_file(self.folder, course):
                    old.unlink()
        return over

    def _save_best(self, network: nn.Module) -> None:
        """Write the network's weights as the best so far, in one step."""
        path = best_file(self.folder, self.course)
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
        with atomic_write(path) as temporary:
            save_file(state, temporary, self.metadata)

    def state(self) -> dict[str, Any]:
        """What `last.ckpt` holds of the course."""
        return asdict(self.course)
