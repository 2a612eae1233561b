"""Models for end-to-end training: find their initial weights and build their networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from features import backbones
from features.backbones.base import Backbone
from features.backbones.loading import weights as found
from features.backbones.loading.digests import file_sha256
from features.errors import ConfigError
from features.pooling import Frames
from features.spec import BackboneSpec
from heads import models
from heads.finetuning.options import Recipe
from heads.models.options import NO_WEIGHTS, EndToEndOptions, ImageOptions
from pipeline.config.finetune_entries import backbone_entry
from pipeline.results.table import weights_text


@dataclass(frozen=True)
class InitialWeights:
    """The source of a model's initial weights.

    Attributes:
        text: Text for tables: `none`, `untrained` or `pretrained:…`.
        sha256: Digest of the weights; empty if they are random.
        path: The weights file of a torchvision classifier.
        spec: Spec of the backbone, for end-to-end training.
    """

    text: str = NO_WEIGHTS
    sha256: str = ""
    path: Path | None = None
    spec: BackboneSpec | None = None

    @property
    def family(self) -> str:
        """The `family` column of tables."""
        return "finetuned" if self.text.startswith("pretrained:") else "scratch"


def find_weights(options: Recipe) -> InitialWeights:
    """Find a model's initial weights before anything is computed.

    Raises:
        WeightsError: The weights cannot be found or downloaded; the message names the model and the alternatives.
        ConfigError: Settings are incompatible.
    """
    if isinstance(options, EndToEndOptions):
        spec = backbones.describe_new(backbone_entry(options))  # type: ignore[arg-type]
        training = backbones.get_family(spec.family).end_to_end
        if options.gradient_checkpointing and not (training and training.gradient_checkpointing):
            raise ConfigError(
                f"{options.title}: gradient_checkpointing needs transformer layers, {spec.family} has none"
            )
        return InitialWeights(weights_text(spec.weights), spec.weights_sha256, None, spec)
    if not isinstance(options, ImageOptions) or options.weights == NO_WEIGHTS:
        return InitialWeights()
    ways = f"set the weights of {options.title!r} in `finetune` to a local .pth or .safetensors file, or to `none`"
    if Path(options.weights).suffix in (".pth", ".pt", ".safetensors"):
        path = found.find_file(options.title, options.weights, ways)
        return InitialWeights(f"pretrained:{path.name}", file_sha256(path), path)
    from heads.models.resnet import imagenet_url

    url, name = imagenet_url(options)
    path = found.find_file(options.title, url, ways)
    return InitialWeights(f"pretrained:{name}", file_sha256(path), path)


def builder(options: Recipe, source: InitialWeights, dim: int, n_classes: int, device: str) -> Callable[[], nn.Module]:
    """Return a function that builds the network with its initial weights."""

    def build() -> nn.Module:
        if isinstance(options, EndToEndOptions):
            return _end_to_end(options, cast(BackboneSpec, source.spec), n_classes, device)
        network = models.build(options, dim, n_classes)
        if source.path is not None:
            network.load_pretrained(found.read_state(source.path), f"{options.title}: {source.path}")  # type: ignore[operator]
        return network

    return build


class Encoder(nn.Module):
    """A backbone as a module, with its parameters and its exact forward pass on any device."""

    def __init__(self, backbone: Backbone) -> None:
        """Wrap a backbone's network."""
        super().__init__()
        self.module = backbone.module
        self._backbone = backbone

    def graph(self) -> nn.Module | None:
        """Return an exportable module for one clip's frames, see `Backbone.graph`."""
        return self._backbone.graph()

    def embed(self, waveforms: Tensor, lengths: Tensor) -> Frames:
        """Map waveforms (B, T) to `Frames`, with gradients and the precision of the caller's autocast."""
        backbone: Any = self._backbone
        backbone.device = waveforms.device
        kind = waveforms.device.type
        if hasattr(backbone, "dtype") and self.module is not None:
            mixed = torch.is_autocast_enabled(kind)
            backbone.dtype = torch.get_autocast_dtype(kind) if mixed else torch.float32
        return backbone.forward(waveforms, lengths)


def _end_to_end(options: EndToEndOptions, spec: BackboneSpec, n_classes: int, device: str) -> nn.Module:
    """Load a backbone and add a head."""
    from heads.models.endtoend import EndToEnd

    backbone = backbones.load(backbone_entry(options), device, "fp32", spec)  # type: ignore[arg-type]
    encoder = Encoder(backbone)
    training = backbones.get_family(spec.family).end_to_end
    if options.freeze_encoder and training is not None:
        backbone.module.get_submodule(training.frozen_part).requires_grad_(False)
    if options.gradient_checkpointing:
        network = backbone.module
        enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
        enable()
    return EndToEnd(encoder, encoder.embed, spec.dim, options, n_classes)
