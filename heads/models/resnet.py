"""ResNet, ResNeXt and all other torchvision classifiers, with the spectrogram as an image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from features.errors import ConfigError, WeightsError
from heads.models.options import IMAGENET, ImageOptions

PLAIN = {"googlenet": {"init_weights": True, "aux_logits": False}, "inception_v3": {"init_weights": True}}
OUTPUT_TENSORS = 2  # weight and bias of the output layer, whose size depends on the number of classes


class Image(nn.Module):
    """An image classifier; the spectrogram is average-pooled to the image size and repeated in every channel."""

    def __init__(self, classifier: nn.Module, size: int, channels: int) -> None:
        """Wrap a classifier."""
        super().__init__()
        self.classifier = classifier
        self.size = size
        self.channels = channels

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Map spectrograms (B, F, D) to logits (B, C); bands become rows, time becomes columns."""
        image = F.adaptive_avg_pool2d(inputs.transpose(1, 2)[:, None], self.size)
        image = image.expand(-1, self.channels, -1, -1).contiguous(memory_format=torch.channels_last)
        output = self.classifier(image)
        return output if isinstance(output, Tensor) else output.logits

    def load_pretrained(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load weights of the same architecture; the output layer stays untrained if its number of classes differs.

        Raises:
            WeightsError: The weights belong to another architecture.
        """
        own = self.classifier.state_dict()
        first = _first_convolution(self.classifier)
        fitted = dict(state)
        if first and self.channels == 1 and f"{first}.weight" in fitted:
            weight = fitted[f"{first}.weight"]
            fitted[f"{first}.weight"] = weight.sum(dim=1, keepdim=True) if weight.shape[1] > 1 else weight
        missing = [name for name in own if name not in fitted and not name.endswith("num_batches_tracked")]
        other = [name for name in own if name in fitted and fitted[name].shape != own[name].shape]
        if missing or len(other) > OUTPUT_TENSORS:
            what = f"{missing[0]!r} is missing" if missing else f"{other[0]!r} has another shape"
            raise WeightsError(f"{source}: does not fit the architecture: {what}")
        self.classifier.load_state_dict(
            {name: fitted.get(name, own[name]) for name in own if name not in other}, strict=False
        )


def build(options: ImageOptions, dim: int, n_classes: int) -> Image:
    """Build the network of a config entry with random weights."""
    kind = PLAIN.get(options.name, {})
    classifier = models.get_model(options.name, weights=None, num_classes=n_classes, **kind)
    if options.input_channels == 1:
        _make_single_channel(classifier)
    network = Image(classifier, options.image_size, options.input_channels)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def imagenet_url(options: ImageOptions) -> tuple[str, str]:
    """Return the URL and the name of torchvision's ImageNet weights of this model.

    Raises:
        ConfigError: There are no weights, or none of this name.
    """
    known = list(models.get_model_weights(options.name))
    wanted = options.weights.upper()
    chosen = [weights for weights in known if wanted in (IMAGENET.upper(), weights.name.upper())]
    if not chosen:
        names = ", ".join([IMAGENET, *(weights.name for weights in known), "none"])
        raise ConfigError(f"{options.name}: no weights {options.weights!r}: use one of {names}, or a local file")
    return chosen[0].url, chosen[0].name.lower()


def _first_convolution(classifier: nn.Module) -> str | None:
    """Return the name of the first convolution."""
    return next((name for name, part in classifier.named_modules() if isinstance(part, nn.Conv2d)), None)


def _make_single_channel(classifier: nn.Module) -> None:
    """Replace the first convolution by a one-channel convolution."""
    name = _first_convolution(classifier)
    if name is None:
        raise ConfigError("input_channels: this model does not start with a convolution; use 3")
    old = classifier.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(
        1,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        new.weight.copy_(old.weight.sum(dim=1, keepdim=True))
    parent, _, last = name.rpartition(".")
    setattr(classifier.get_submodule(parent), last, new)
