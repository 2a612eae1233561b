"""The table of models that are trained on spectrograms or waveforms; each is one module."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ConfigError
from heads.finetuning.options import Recipe
from heads.models.options import CnnOptions, CrnnOptions, ImageOptions, M5Options

if TYPE_CHECKING:
    from torch import nn

# name -> options, and the module with `build(options, dim, n_classes) -> nn.Module`
MODELS: dict[str, tuple[type[Recipe], str]] = {
    "m5": (M5Options, "heads.models.m5"),
    "cnn": (CnnOptions, "heads.models.cnn"),
    "crnn": (CrnnOptions, "heads.models.crnn"),
    "resnet18": (ImageOptions, "heads.models.resnet"),
    "resnext101_32x8d": (ImageOptions, "heads.models.resnet"),
}
TORCHVISION = (ImageOptions, "heads.models.resnet")  # any other classifier that torchvision has


def options_class(name: str) -> type[Recipe] | None:
    """Return the pydantic class that validates config entries with this name; None if there is no such model.

    torchvision's classifiers are only known if torchvision is installed.
    """
    found = _entry(name)
    return found[0] if found else None


def build(options: Recipe, dim: int, n_classes: int) -> nn.Module:
    """Build the untrained network: `forward(inputs (B, F, D), lengths (B,)) -> logits (B, C)`.

    Args:
        options: The model's options.
        dim: D, the bands of its input.
        n_classes: C.

    Raises:
        ConfigError: There is no such model.
    """
    found = _entry(options.name)
    if found is None:
        raise ConfigError(f"unknown model {options.name!r}")
    return import_module(found[1]).build(options, dim, n_classes)


def shortest_input(options: Recipe) -> int:
    """Return the minimum number of frames (or samples) of a model; shorter clips are padded."""
    if isinstance(options, M5Options):
        from heads.models.m5 import min_samples

        return min_samples()
    return 1


def _entry(name: str) -> tuple[type[Recipe], str] | None:
    if name in MODELS:
        return MODELS[name]
    if not _may_be_torchvisions(name):
        return None
    import torchvision

    return TORCHVISION if name in torchvision.models.list_models(module=torchvision.models) else None


def _may_be_torchvisions(name: str) -> bool:
    """Whether a file of torchvision.models defines a function of this name; importing torchvision takes seconds."""
    spec = find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    sources = (
        path.read_text(encoding="utf-8") for folder in folders or () for path in Path(folder, "models").glob("*.py")
    )
    return any(f"\ndef {name}(" in source for source in sources)
