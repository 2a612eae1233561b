"""The Lightning module: training steps, validation and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from heads.finetuning.augmentation import Augmenter
from heads.finetuning.checkpoint import STATE_KEY, TrainingState
from heads.finetuning.crops import ScoringWindows
from heads.finetuning.inference import score
from heads.finetuning.network import StandardisedNetwork
from heads.finetuning.options import Recipe
from heads.finetuning.rng import DROPOUT, NOISE, Step, epoch_batches

MOMENTUM = 0.9


@dataclass(frozen=True)
class TrainingClips:
    """Inputs and targets of all clips.

    Attributes:
        windows: The clips' inputs.
        targets: Class of each clip, (N,) int64.
        n_classes: C.
        augmenter: Augmentation, applied to training clips only.
    """

    windows: ScoringWindows
    targets: np.ndarray
    n_classes: int
    augmenter: Augmenter


@dataclass
class EpochScores:
    """Sums over an epoch's training clips."""

    loss: float = 0.0
    correct: float = 0.0
    clips: int = 0
    parts: list[Tensor] = field(default_factory=list)

    def add(self, loss: Tensor, correct: Tensor, clips: int) -> None:
        """Add a batch, without waiting for the device."""
        self.parts.append(torch.stack([loss.detach().float() * clips, correct.float()]))
        self.clips += clips

    def close(self) -> tuple[float, float]:
        """Return mean loss and accuracy."""
        loss, correct = torch.stack(self.parts).sum(dim=0).tolist()
        return loss / self.clips, correct / self.clips


class Learner(lightning.LightningModule):
    """Trains a network on clips; order, crops, augmentation and dropout depend only on (seed, epoch, step)."""

    def __init__(
        self,
        network: StandardisedNetwork,
        clips: TrainingClips,
        train: np.ndarray,
        valid: np.ndarray,
        recipe: Recipe,
        seed: int,
        state: TrainingState,
        on_step: Callable[[int], None],
        on_epoch: Callable[[TrainingState], None],
    ) -> None:
        """Set up training.

        Args:
            network: The network to train.
            clips: All clips.
            train: Positions of the training clips.
            valid: Positions of the validation clips.
            recipe: Training settings.
            seed: Seed of all random draws.
            state: State of an earlier run of this fit; updated during training.
            on_step: Called after each step with its number of clips.
            on_epoch: Called after each epoch with the training state.
        """
        super().__init__()
        self.network = network
        self.clips = clips
        self.train_clips = train
        self.valid_clips = valid
        self.recipe = recipe
        self.seed = seed
        self.state = state
        self.on_step = on_step
        self.on_epoch = on_epoch
        self.training_scores = EpochScores()
        self.metrics: dict[str, float] = {}
        self._batches: tuple[int, list[np.ndarray]] = (-1, [])
        self._started = 0.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Create the recipe's optimiser."""
        recipe = self.recipe
        encoder_rate = getattr(recipe, "backbone_learning_rate", None)
        groups = self.network.parameter_groups(recipe.learning_rate, encoder_rate)
        if recipe.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=MOMENTUM, weight_decay=recipe.weight_decay)
        kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
        return kind(groups, weight_decay=recipe.weight_decay)

    def on_train_epoch_start(self) -> None:
        """Set the learning rate as a function of the epoch, so that a resumed run has no schedule to restore."""
        optimizer: Any = self.optimizers()
        factor = self.recipe.learning_rate_factor(self.current_epoch)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = group["initial_lr"] * factor
        self.training_scores = EpochScores()

    def training_step(self, number: int, batch_idx: int) -> Tensor:
        """Return the mean cross-entropy of a step's clips."""
        step = Step(self.seed, self.current_epoch, number, self.global_rank)
        torch.manual_seed(step.torch_seed(DROPOUT))
        clips = self._batch(number)
        rng = step.generator()
        inputs, lengths = self.clips.windows.crops(clips, rng)
        classes = torch.from_numpy(self.clips.targets[clips]).to(self.device)
        targets = F.one_hot(classes, self.clips.n_classes).float()
        inputs = inputs.to(self.device, non_blocking=True)
        inputs, lengths, targets = self.clips.augmenter(inputs, lengths, targets, rng, step.torch_seed(NOISE))
        logits = self.network(inputs, lengths)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.recipe.label_smoothing)
        self.training_scores.add(loss, (logits.argmax(dim=1) == targets.argmax(dim=1)).sum(), len(clips))
        self.on_step(len(clips))
        return loss

    def validation_step(self, number: int, batch_idx: int) -> None:
        """Score all validation clips as whole clips, like the test clips."""
        probabilities = score(self.network, self.clips.windows, self.valid_clips, self.recipe.batch_size, self.device)
        loss, accuracy = log_loss(probabilities, self.clips.targets[self.valid_clips])
        self.metrics["valid/loss"], self.metrics["valid/accuracy"] = loss, accuracy

    def on_train_start(self) -> None:
        """Log the epochs of earlier runs again, since loggers start empty, and start the timer."""
        for epoch in range(self.state.epochs):
            self._log_epoch(epoch)
        self._started = time.perf_counter() - self.state.seconds

    def on_train_epoch_end(self) -> None:
        """Collect the epoch's metrics. The callbacks that run next use them for early stopping and checkpoints."""
        self.metrics["train/loss"], self.metrics["train/accuracy"] = self.training_scores.close()
        optimizer: Any = self.optimizers()
        self.metrics["learning_rate"] = max(group["lr"] for group in optimizer.param_groups)
        # Batch norm statistics differ between processes. Those of the first are saved, so its metrics are used.
        metrics = self.trainer.strategy.broadcast(dict(self.metrics))
        # float64, because float32 would round close validation losses to equal values
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()}
        self.log_dict(values, logger=False, batch_size=1)
        self.state.curves.append(metrics)
        self.state.seconds = time.perf_counter() - self._started
        self._log_epoch(self.state.epochs - 1)
        if self.trainer.is_global_zero:
            self.on_epoch(self.state)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the training state to the checkpoint, after early stopping has decided."""
        self.state.stopped = self.trainer.should_stop
        checkpoint[STATE_KEY] = asdict(self.state)

    def _log_epoch(self, epoch: int) -> None:
        """Log an epoch; the x-axis is the epoch, not Lightning's count of steps."""
        for logger in self.loggers:
            logger.log_metrics({"epoch": epoch, **self.state.curves[epoch]}, step=epoch)
            logger.save()

    def _batch(self, number: int) -> np.ndarray:
        """Return the positions of the clips that this process trains on in a step."""
        epoch, batches = self._batches
        if epoch != self.current_epoch:
            batches = epoch_batches(len(self.train_clips), self.recipe.batch_size, self.seed, self.current_epoch)
            self._batches = (self.current_epoch, batches)
        batch = batches[number]
        if len(batch) < self.trainer.world_size:  # every process needs at least one clip
            batch = np.resize(batch, self.trainer.world_size)
        return self.train_clips[batch[self.global_rank :: self.trainer.world_size]]


def log_loss(probabilities: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Return the mean log loss in nats, and the accuracy, of probabilities (N, C) and targets (N,)."""
    chosen = probabilities[np.arange(len(targets)), targets]
    loss = float(-np.log(np.clip(chosen, np.finfo(np.float32).tiny, None)).mean())
    return loss, float((probabilities.argmax(axis=1) == targets).mean())
