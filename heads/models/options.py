"""Options of each trained model, in addition to its recipe."""

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
        mel: Settings of the mel spectrograms.
        input_dtype: Type in which the spectrograms are cached. None: float16 for log-mels, and float32 for mel powers,
            whose range float16 does not cover.
    """

    mel: MelOptions = MelOptions()
    input_dtype: Literal["float16", "float32"] | None = None

    @model_validator(mode="after")
    def _fits_in_its_type(self) -> SpectrogramOptions:
        if self.mel.scale == "power" and self.input_dtype == "float16":
            raise ValueError("input_dtype should be float32 for mel.scale: power, whose range float16 does not cover")
        return self

    @property
    def stored_dtype(self) -> str:
        """Type in which the spectrograms are cached."""
        return self.input_dtype or ("float16" if self.mel.scale == "log" else "float32")


class CnnOptions(SpectrogramOptions):
    """Conv–ReLU–Pool blocks; mean and maximum over time into a linear output.

    Attributes:
        channels: Channels of each block's 3×3 convolution; every block halves bands and frames.
        batch_norm: Normalise after each convolution.
        dropout: Dropout before the output.
    """

    name: Literal["cnn"] = "cnn"
    channels: list[Count] = Field([16, 32, 64, 128], min_length=1)
    batch_norm: bool = False
    dropout: Share = 0.3


class CrnnOptions(SpectrogramOptions):
    """The blocks of `cnn`, then a bidirectional GRU over time.

    Attributes:
        channels: Channels of each block's convolution; every block halves the bands, the first two also the frames.
        batch_norm: Normalise after each convolution.
        hidden: Units of the GRU in each direction.
        dropout: Dropout before the output.
    """

    name: Literal["crnn"] = "crnn"
    channels: list[Count] = Field([16, 32, 64, 128], min_length=1)
    batch_norm: bool = False
    hidden: Count = 128
    dropout: Share = 0.3


class ImageOptions(SpectrogramOptions):
    """Any torchvision classifier, with the spectrogram as an image.

    Attributes:
        weights: `imagenet` (torchvision's first release for the model), `none`, or a local file.
        image_size: Height and width to which the spectrogram is average-pooled.
        input_channels: 3: the spectrogram is repeated in three channels; 1: one channel, with the weights of the first
            convolution summed over its input channels, which gives the same result at a lower cost.
        learning_rate: Learning rate of the optimiser.
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
        sample_rate_hz: Clips are resampled to this rate.
        channels: Channels of the convolutions.
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
    """A backbone with a head, trained together.

    Attributes:
        hidden: Units of the head's hidden layer.
        dropout: Dropout in the head.
        learning_rate: Learning rate of the head.
        backbone_learning_rate: Learning rate of the backbone.
        freeze_encoder: Keep the backbone's convolutional feature encoder frozen.
        gradient_checkpointing: Recompute activations in the backward pass, which needs less memory but more time.
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
        """The model's name in tables, which differs from that of the frozen backbone."""
        return self.label or f"{self.name}-finetuned"

    @property
    def head(self) -> str:
        """The `head` column of tables."""
        return "mlp"
