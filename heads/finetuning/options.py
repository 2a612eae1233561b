"""Options of end-to-end training: epochs, optimiser, schedule, augmentation and tracking."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from heads.options import Count, Decay, Positive, Share

MAX_DEFAULT_DURATION_S = 30.0  # longest window if the config does not set one


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Probability = Annotated[float, Field(ge=0, le=1)]
GainRange = Annotated[tuple[Positive, Positive], BeforeValidator(_as_tuple)]


class Augment(BaseModel):
    """Augmentation of training clips; each kind is off by default. Drawn at every step for every clip.

    Attributes:
        time_mask_frames: Longest span of frames (samples of a waveform) that is masked; 0: none.
        time_masks: Number of such spans.
        frequency_mask_bands: Widest group of neighbouring mel bands that is masked; 0: none.
        frequency_masks: Number of such groups.
        noise: Standard deviation of Gaussian noise, in the input's unit (dB for log-mels); 0: none.
        noise_p: Probability that a clip gets noise.
        gain: Range of the factor on amplitude (waveforms) or power (mels), drawn uniformly; null: none.
        gain_p: Probability that a clip's gain changes.
        time_shift_s: Longest circular shift in either direction, in seconds; 0: none.
        mixup: Both parameters of the Beta distribution that mixes pairs of clips; 0: no mixup.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_mask_frames: Annotated[int, Field(ge=0)] = 0
    time_masks: Count = 1
    frequency_mask_bands: Annotated[int, Field(ge=0)] = 0
    frequency_masks: Count = 1
    noise: Decay = 0.0
    noise_p: Probability = 1.0
    gain: GainRange | None = None
    gain_p: Probability = 1.0
    time_shift_s: Decay = 0.0
    mixup: Decay = 0.0

    @model_validator(mode="after")
    def _range(self) -> Augment:
        if self.gain and self.gain[0] > self.gain[1]:
            raise ValueError(f"gain should be a range [low, high], got {list(self.gain)}")
        return self


class Tracking(BaseModel):
    """One entry of `tracking`.

    Attributes:
        name: The logger.
        mode: Mode of SwanLab: `offline` needs no account, `online` needs one, `local` needs its dashboard extra.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["tensorboard", "swanlab", "csv"]
    mode: Literal["offline", "local", "online"] = "offline"

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Recipe(BaseModel):
    """Options of every entry of `finetune`.

    Attributes:
        name: The model, see `heads.models`.
        label: Name in tables; by default `name`.
        epochs: Passes over the training clips.
        batch_size: Clips per step, over all devices together.
        learning_rate: Learning rate before the schedule.
        optimizer: `adam`, `adamw` or `sgd` (momentum 0.9).
        weight_decay: Weight decay of the optimiser.
        schedule: `constant`, `step` (times `gamma` every `step_epochs`) or `cosine` (to 0 at the end).
        step_epochs: Epochs between the steps of `schedule: step`.
        gamma: Factor of the learning rate at each of these steps.
        warmup_epochs: First epochs with a linearly increasing learning rate.
        gradient_clip: Largest norm of the gradient; null: no limit.
        label_smoothing: Fraction of the target that is spread over all classes.
        patience: Stop after this many epochs without a lower validation log loss; null: never.
        precision: `fp32`, `bf16`, `fp16`, or `auto`: bf16 on CUDA devices that support it, else fp32.
        duration_s: Length of training crops and scoring windows, in seconds; null: the longest training clip, at most
            30 s.
        standardize: Scale each band to zero mean and unit variance over the training clips.
        augment: Augmentation of training clips.
        devices: Number of devices.
        strategy: Lightning's strategy for several devices.
        threads: CPU threads; null: torch's default. They change results in their last bits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    label: Annotated[str, Field(min_length=1)] | None = None
    epochs: Count = 20
    batch_size: Count = 16
    learning_rate: Positive = 1e-3
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: Decay = 0.0
    schedule: Literal["constant", "step", "cosine"] = "constant"
    step_epochs: Count = 10
    gamma: Positive = 0.1
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    gradient_clip: Positive | None = None
    label_smoothing: Share = 0.0
    patience: Count | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    duration_s: Positive | None = None
    standardize: bool = True
    augment: Augment = Augment()
    devices: Count = 1
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    threads: Count | None = None

    @property
    def title(self) -> str:
        """The model's name in tables."""
        return self.label or self.name

    @property
    def head(self) -> str:
        """The `head` column of tables: a model without a separate head has none."""
        return "none"

    def job(self) -> dict[str, Any]:
        """Return all options that affect the result, as JSON values."""
        return self.model_dump(mode="json", exclude={"label"})

    def learning_rate_factor(self, epoch: int) -> float:
        """Return the factor on the learning rate in an epoch (counted from 0)."""
        if epoch < self.warmup_epochs:
            return (epoch + 1) / self.warmup_epochs
        since = epoch - self.warmup_epochs
        if self.schedule == "step":
            return self.gamma ** (since // self.step_epochs)
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * since / max(1, self.epochs - self.warmup_epochs)))
        return 1.0
