"""The trained network and its training step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from features.backbones.wav2vec2_architectures import SIZES
from recipes.nano.objectives import (
    SPECTRAL_DIM,
    contrast,
    evened,
    frames_in,
    span_mask,
    spectra,
    teacher_distance,
)
from recipes.nano.teaching import TEACHER_DIM, student_windows

ARCHITECTURE: dict[str, Any] = {
    **SIZES["nano"],
    **{f"{part}_dropout": 0.0 for part in ("hidden", "activation", "attention", "feat_proj", "final")},
    "layerdrop": 0.0,
}
OBJECTIVES = {"distill": 1.0, "contrast": 0.1, "spectra": 0.5}  # with their default weights
SPECTRA_LAYER = 3  # hidden state for spectra; low, so that the upper layers serve the other objectives
CONTRAST_DIM = 128
EMA_DECAY = 0.998
RARE = 0.05  # added to the targets' standard deviations, to give less weight to dimensions that are rarely active


@dataclass(frozen=True)
class Training:
    """Settings of a run.

    Attributes:
        objectives: Names in `OBJECTIVES` and their weights.
        steps: Batches of the whole run; the learning rate decays to zero at the end.
        warmup: Steps over which the learning rate increases.
        learning_rate: Highest learning rate.
        weight_decay: Weight decay of AdamW.
        seed: Seed of the initial weights and of the masks.
    """

    objectives: Mapping[str, float]
    steps: int
    warmup: int = 100
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    seed: int = 0


def new_student() -> nn.Module:
    """Build a Wav2Vec2 with 3.2 M parameters; its weights are drawn from torch's global generator."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(Wav2Vec2Config(**ARCHITECTURE))


class Student(lightning.LightningModule):
    """The encoder, with the readers and averages needed for training."""

    def __init__(self, options: Training) -> None:
        """Draw the initial weights."""
        super().__init__()
        self.options = options
        torch.manual_seed(options.seed)
        self.encoder = new_student()
        dim = ARCHITECTURE["hidden_size"]
        readers = {
            "distill": _silent(nn.Linear(dim, TEACHER_DIM)),
            "contrast": nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, CONTRAST_DIM)),
            "spectra": _silent(nn.Linear(dim, SPECTRAL_DIM)),
        }
        self.readers = nn.ModuleDict({name: readers[name] for name in options.objectives})
        self.averaged = nn.ModuleDict(
            {
                "encoder": AveragedModel(self.encoder, avg_fn=averaged, use_buffers=True),
                "readers": AveragedModel(self.readers, avg_fn=averaged),
            }
        ).requires_grad_(False)
        for name, size in (("target", TEACHER_DIM), ("spectra", SPECTRAL_DIM)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def fit_scales(self, batches: Sequence[dict[str, Tensor]]) -> None:
        """Compute mean and standard deviation of the targets from a few batches."""
        found = {"spectra": torch.cat([spectra(standardized(batch["waveforms"])) for batch in batches])}
        if "targets" in batches[0]:
            found["target"] = evened(torch.cat([batch["targets"] for batch in batches]))
        for name, values in found.items():
            std, mean = torch.std_mean(values, dim=(0, 1))
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_std").copy_(std + RARE)

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Load the averaged weights of another run's `state`; readers that it lacks keep their initial weights."""
        for name, part in (("encoder", self.encoder), ("readers", self.readers)):
            own = part.state_dict()
            found = averaged_weights(state, name)
            part.load_state_dict(own | {key: one for key, one in found.items() if key in own})
            self.averaged[name].module.load_state_dict(part.state_dict())

    def configure_optimizers(self) -> dict[str, Any]:
        """Create AdamW with warm-up and a cosine decay to zero, per step."""
        options = self.options
        trained = [one for one in self.parameters() if one.requires_grad]
        optimizer = torch.optim.AdamW(trained, options.learning_rate, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, options))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """Return the weighted sum of the objectives for one batch."""
        rows, samples = batch["waveforms"].shape
        frames = frames_in(samples)
        mask = torch.zeros(rows, frames, dtype=torch.bool)
        if "spectra" in self.options.objectives:
            seed = (self.options.seed << 32) + self.global_step * self.trainer.world_size + self.global_rank
            mask = span_mask(rows, frames, seed)
        losses = self._losses(self.encoder, self.readers, batch, mask.to(self.device))
        total = self._weighted(losses)
        self.log("train_loss", total, sync_dist=True)
        return total

    def on_train_batch_end(self, *_: Any) -> None:
        """Update the moving average of the weights."""
        self.averaged["encoder"].update_parameters(self.encoder)
        self.averaged["readers"].update_parameters(self.readers)

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Score the averaged weights on held-out clips."""
        losses = self._losses(self.averaged["encoder"], self.averaged["readers"].module, batch, None)
        scores = {f"valid_{name}": loss for name, loss in losses.items()} | {"valid_loss": self._weighted(losses)}
        self.log_dict(scores, batch_size=len(batch["waveforms"]), sync_dist=True)

    def _losses(
        self, encoder: nn.Module, readers: nn.ModuleDict, batch: dict[str, Tensor], mask: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the objectives by name."""
        waveforms = standardized(batch["waveforms"])
        seen = encoder(waveforms, mask_time_indices=mask, output_hidden_states=True)
        states = (*seen.hidden_states[:-1], seen.last_hidden_state)  # hidden_states[-1] lacks the final norm
        losses = {}
        if "distill" in readers:
            predicted = readers["distill"](student_windows(states[-1]))
            wanted = (evened(batch["targets"]) - self.target_mean) / self.target_std
            losses["distill"] = teacher_distance(predicted, wanted)
        if "contrast" in readers:
            losses["contrast"] = contrast(readers["contrast"](states[-1].mean(dim=1)))
        if "spectra" in readers:
            wanted = (spectra(waveforms) - self.spectra_mean) / self.spectra_std
            losses["spectra"] = functional.l1_loss(readers["spectra"](states[SPECTRA_LAYER]), wanted)
        return losses

    def _weighted(self, losses: dict[str, Tensor]) -> Tensor:
        weights = self.options.objectives
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


def _silent(reader: nn.Linear) -> nn.Linear:
    """Set a reader's weights to zero, so that it starts by predicting the mean of its (centred) targets.

    With random readers, the encoder first learned to predict this mean, along one direction of its hidden states that
    dominated all others.
    """
    nn.init.zeros_(reader.weight)
    nn.init.zeros_(reader.bias)
    return reader


def averaged_weights(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the moving average of `encoder` or `readers` from a trained `Student`'s `state`."""
    prefix = f"averaged.{part}.module."
    return {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}


def averaged(mean: Tensor, new: Tensor, steps: Tensor | int) -> Tensor:
    """Return the moving average of weights after one more step; early steps use a smaller decay."""
    kept = min(EMA_DECAY, (1 + int(steps)) / (10 + int(steps)))
    return mean + (1 - kept) * (new - mean)


def standardized(waveforms: Tensor) -> Tensor:
    """Scale each clip (B, T) to zero mean and unit variance, as Wav2Vec2's feature extractor does."""
    centred = waveforms - waveforms.mean(dim=1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=1, keepdim=True) + 1e-7)


def rate_at(step: int, options: Training) -> float:
    """Return the learning rate as a fraction of its highest value."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    done = (step - options.warmup) / max(1, options.steps - options.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
