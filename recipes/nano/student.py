"""The network, what it is trained for, and one step of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from recipes.nano.teaching import TEACHER_DIM, student_windows

ARCHITECTURE: dict[str, Any] = {
    "hidden_size": 192,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "conv_dim": (96, *(128,) * 6),
    "num_conv_pos_embeddings": 64,
    "num_conv_pos_embedding_groups": 8,
    "apply_spec_augment": False,
    **{f"{part}_dropout": 0.0 for part in ("hidden", "activation", "attention", "feat_proj", "final")},
    "layerdrop": 0.0,
}
CONTRAST_DIM = 128
TEMPERATURE = 0.1
EMA_DECAY = 0.998


@dataclass(frozen=True)
class Training:
    """What a run is.

    Attributes:
        steps: Batches over the whole run; the learning rate decays to zero by then.
        warmup: Steps over which it rises.
        learning_rate: At its highest.
        weight_decay: Of AdamW.
        distill: Weight of the distance to the teacher.
        contrast: Weight of telling clips apart across two recordings of each.
        seed: Of the first weights.
    """

    steps: int
    warmup: int = 300
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    distill: float = 1.0
    contrast: float = 0.0
    seed: int = 0


def new_student() -> nn.Module:
    """Wav2Vec2 with 3.2 M parameters; draws from torch's generator."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(Wav2Vec2Config(**ARCHITECTURE))


class Student(lightning.LightningModule):
    """The encoder with what it needs while it is trained."""

    def __init__(self, training_options: Training) -> None:
        """Draw the first weights."""
        super().__init__()
        self.options = training_options
        torch.manual_seed(training_options.seed)
        self.encoder = new_student()
        dim = ARCHITECTURE["hidden_size"]
        self.to_teacher = nn.Linear(dim, TEACHER_DIM)
        self.to_contrast = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, CONTRAST_DIM))
        self.averaged = AveragedModel(self.encoder, avg_fn=averaged, use_buffers=True)
        self.averaged_head = AveragedModel(self.to_teacher, avg_fn=averaged)
        self.register_buffer("target_scale", torch.ones(()))

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW, warm-up, then a cosine to zero, by the step."""
        trained = [*self.encoder.parameters(), *self.to_teacher.parameters(), *self.to_contrast.parameters()]
        options = self.options
        optimizer = torch.optim.AdamW(trained, options.learning_rate, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, options))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """The weighted objectives of one batch."""
        hidden = self.encoder(standardized(batch["waveforms"])).last_hidden_state  # [B, F, D]
        loss = hidden.new_zeros(())
        if self.options.distill:
            loss = loss + self.options.distill * self._distance(self.to_teacher(student_windows(hidden)), batch)
        if self.options.contrast:
            loss = loss + self.options.contrast * contrast(self.to_contrast(hidden.mean(dim=1)))
        self.log("train_loss", loss)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Follow the weights with their moving average."""
        self.averaged.update_parameters(self.encoder)
        self.averaged_head.update_parameters(self.to_teacher)

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Score the averaged weights on held-out clips."""
        hidden = self.averaged(standardized(batch["waveforms"])).last_hidden_state
        if "targets" in batch:
            predicted = self.averaged_head(student_windows(hidden))
            self.log("valid_loss", self._distance(predicted, batch), batch_size=len(hidden))
            cosine = functional.cosine_similarity(predicted, batch["targets"], dim=-1).mean()
            self.log("valid_cosine", cosine, batch_size=len(hidden))
        if self.options.contrast:
            self.log("valid_contrast", contrast(self.to_contrast(hidden.mean(dim=1))), batch_size=len(hidden))

    def _distance(self, predicted: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Squared error on the targets' own scale, and one minus the cosine."""
        targets = batch["targets"]
        error = functional.mse_loss(predicted / self.target_scale, targets / self.target_scale)
        return error + 1 - functional.cosine_similarity(predicted, targets, dim=-1).mean()


def averaged(mean: Tensor, new: Tensor, steps: Tensor | int) -> Tensor:
    """The moving average of weights after one more step; young averages forget their random start sooner."""
    kept = min(EMA_DECAY, (1 + int(steps)) / (10 + int(steps)))
    return mean + (1 - kept) * (new - mean)


def standardized(waveforms: Tensor) -> Tensor:
    """Each clip with zero mean and unit variance, as Wav2Vec2's feature extractor does it."""
    centred = waveforms - waveforms.mean(dim=1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=1, keepdim=True) + 1e-7)


def contrast(embedded: Tensor) -> Tensor:
    """SimCLR's loss (Chen et al. 2020) for two recordings of each clip, B rows apart: (2B, D)."""
    unit = functional.normalize(embedded, dim=1)
    half = len(unit) // 2
    similarity = (unit @ unit.T / TEMPERATURE).masked_fill(
        torch.eye(len(unit), dtype=torch.bool, device=unit.device), -math.inf
    )
    return functional.cross_entropy(similarity, torch.arange(len(unit), device=unit.device).roll(half))


def rate_at(step: int, options: Training) -> float:
    """The learning rate's share of its highest value."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    done = (step - options.warmup) / max(1, options.steps - options.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
