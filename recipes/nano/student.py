"""The network that learns, and one step of it."""

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

from features.backbones.wav2vec2 import SIZES
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
OBJECTIVES = {"distill": 1.0, "contrast": 0.1, "spectra": 0.5}  # and how much each weighs unless told
SPECTRA_LAYER = 3  # the hidden state that spectra are read from: low enough to leave the upper layers to the rest
CONTRAST_DIM = 128
EMA_DECAY = 0.998
RARE = 0.05  # added to the targets' standard deviations, so that what is hardly ever active does not count as much


@dataclass(frozen=True)
class Training:
    """What a run is.

    Attributes:
        objectives: Names out of `OBJECTIVES`, and how much each weighs.
        steps: Batches over the whole run; the learning rate decays to zero by then.
        warmup: Steps over which it rises.
        learning_rate: At its highest.
        weight_decay: Of AdamW.
        seed: Of the first weights and of the masks.
    """

    objectives: Mapping[str, float]
    steps: int
    warmup: int = 100
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    seed: int = 0


def new_student() -> nn.Module:
    """Wav2Vec2 with 3.2 M parameters; draws from torch's generator."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(Wav2Vec2Config(**ARCHITECTURE))


class Student(lightning.LightningModule):
    """The encoder with what it needs while it is trained."""

    def __init__(self, options: Training) -> None:
        """Draw the first weights."""
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
        """Learn from a few batches where the targets lie, and how far apart."""
        found = {"spectra": torch.cat([spectra(standardized(batch["waveforms"])) for batch in batches])}
        if "targets" in batches[0]:
            found["target"] = evened(torch.cat([batch["targets"] for batch in batches]))
        for name, values in found.items():
            std, mean = torch.std_mean(values, dim=(0, 1))
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_std").copy_(std + RARE)

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take the averaged weights of another run's `state`; readers that it lacks stay as they were drawn."""
        for name, part in (("encoder", self.encoder), ("readers", self.readers)):
            own = part.state_dict()
            found = averaged_weights(state, name)
            part.load_state_dict(own | {key: one for key, one in found.items() if key in own})
            self.averaged[name].module.load_state_dict(part.state_dict())

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW, warm-up, then a cosine to zero, by the step."""
        options = self.options
        trained = [one for one in self.parameters() if one.requires_grad]
        optimizer = torch.optim.AdamW(trained, options.learning_rate, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, options))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """The weighted objectives of one batch."""
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
        """Follow the weights with their moving average."""
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
        """Each objective by its name."""
        waveforms = standardized(batch["waveforms"])
        seen = encoder(waveforms, mask_time_indices=mask, output_hidden_states=True)
        states = (*seen.hidden_states[:-1], seen.last_hidden_state)  # of which the former lacks the final norm
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
    """A reader that says the mean of its (centred) targets until it has learnt more.

    From random readers, the first thing that the encoder learnt was to say that mean, along one direction of its hidden
    states that drowned all others.
    """
    nn.init.zeros_(reader.weight)
    nn.init.zeros_(reader.bias)
    return reader


def averaged_weights(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Of a trained `Student`'s `state`, the moving average of its `encoder` or `readers`."""
    prefix = f"averaged.{part}.module."
    return {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}


def averaged(mean: Tensor, new: Tensor, steps: Tensor | int) -> Tensor:
    """The moving average of weights after one more step; young averages forget their random start sooner."""
    kept = min(EMA_DECAY, (1 + int(steps)) / (10 + int(steps)))
    return mean + (1 - kept) * (new - mean)


def standardized(waveforms: Tensor) -> Tensor:
    """Each clip with zero mean and unit variance, as Wav2Vec2's feature extractor does it."""
    centred = waveforms - waveforms.mean(dim=1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=1, keepdim=True) + 1e-7)


def rate_at(step: int, options: Training) -> float:
    """The learning rate's share of its highest value."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    done = (step - options.warmup) / max(1, options.steps - options.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
