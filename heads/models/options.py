"""What a config can set of each trained model beside its recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from features.audio.mel import MelOptions
from heads.finetuning.options import Recipe
from heads.options import Count, Positive, Share

NO_WEIGHTS = "none"
IMAGENET = "imagenet"


class SpectrogramOptions(Recipe):
    """A model on mel spectrograms.

    Attributes:
        mel: How they are made.
    """

    mel: MelOptions = MelOptions()


class CnnOptions(SpectrogramOptions):
    """Conv–ReLU–Pool blocks; mean and maximum over time into a linear output.

    Attributes:
        channels: Of each block's 3×3 convolution; every block halves bands and frames.
        batch_norm: Normalise after each convolution.
        dropout: Before the output.
    """

    name: Literal["cnn"] = "cnn"
    channels: list[Count] = Field([16, 32, 64, 128], min_length=1)
    batch_norm: bool = False
    dropout: Share = 0.3


class CrnnOptions(SpectrogramOptions):
    """The same blocks, then a bidirectional GRU over time.

    Attributes:
        channels: Of each block's convolution; every block halves the bands, only the first two the frames.
        batch_norm: Normalise after each convolution.
        hidden: Units of the GRU in each direction.
        dropout: Before the output.
    """

    name: Literal["crnn"] = "crnn"
    channels: list[Count] = Field([16, 32, 64, 128], min_length=1)
    batch_norm: bool = False
    hidden: Count = 128
    dropout: Share = 0.3


class ImageOptions(SpectrogramOptions):
    """Any torchvision classifier on the spectrogram as an image.

    Attributes:
        weights: `imagenet` (torchvision's first release of them), `none`, or a local file.
        image_size: Height and width that the spectrogram is average-pooled to.
        input_channels: 3: the spectrogram three times, as images have it; 1: one plane, the first
            convolution's weights summed, which computes the same at a lower cost.
        learning_rate: Of the optimiser.
    """

    weights: str = IMAGENET
    image_size: Annotated[int, Field(ge=16)] = 224
    input_channels: Literal[1, 3] = 3
    learning_rate: Positive = 1e-4


class WaveformOptions(Recipe):
    """A model on waveforms, which have no bands to mask."""

    standardize: Literal[False] = False

    @model_validator(mode="after")
    def _no_bands(self) -> WaveformOptions:
        if self.augment.frequency_mask_bands:
            raise ValueError("augment.frequency_mask_bands: a waveform has no bands to mask; leave it at 0")
        return self


class M5Options(WaveformOptions):
    """Four one-dimensional convolutions on the waveform (Dai et al. 2016); defaults are the published recipe.

    Attributes:
        sample_rate_hz: Clips are resampled to this.
        channels: Of the convolutions.
    """

    name: Literal["m5"] = "m5"
    sample_rate_hz: Annotated[int, Field(ge=1000)] = 8000
    channels: list[Count] = Field([128, 128, 256, 512], min_length=4, max_length=4)
    epochs: Count = 40
    batch_size: Count = 128
    learning_rate: Positive = 1e-2
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    schedule: Literal["constant", "step", "cosine"] = "step"
    step_epochs: Count = 20


class EndToEndOptions(WaveformOptions):
    """A backbone and a head on it, trained together.

    Attributes:
        hidden: Units of the head's hidden layer.
        dropout: In the head.
        learning_rate: The head's.
        backbone_learning_rate: The backbone's.
        freeze_encoder: Leave the backbone's convolutional feature encoder as it is.
        gradient_checkpointing: Compute activations again in the backward pass: less memory, more time.
    """

    hidden: Count = 256
    dropout: Share = 0.3
    learning_rate: Positive = 1e-3
    backbone_learning_rate: Positive = 1e-5
    freeze_encoder: bool = True
    gradient_checkpointing: bool = False
    batch_size: Count = 8
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    gradient_clip: Positive | None = 1.0

    @property
    def title(self) -> str:
        """What tables call this model: not the name of the frozen backbone."""
        return self.label or f"{self.name}-finetuned"

    @property
    def head(self) -> str:
        """The `head` column of tables."""
        return "mlp"
