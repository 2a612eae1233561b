"""Entries of a config's `finetune` section: the option class of each name, and the inputs of each model."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, create_model

from features import backbones
from features.errors import ConfigError
from heads import models
from heads.finetuning.options import Recipe
from heads.models.options import EndToEndOptions, SpectrogramOptions
from pipeline.config.errors import closest


def options_class(name: str) -> type[Recipe]:
    """Return the pydantic class that validates an entry of `finetune`.

    Raises:
        ConfigError: There is no such model, or it cannot be trained end to end.
    """
    if name in models.MODELS:
        return models.MODELS[name][0]
    trainable = [family for family in backbones.BACKBONES if backbones.get_family(family).end_to_end]
    if name in backbones.names():
        family = backbones.family_of(name)
        if family not in trainable:
            raise ConfigError(f"{name!r} cannot be trained end to end; {', '.join(trainable)} and their presets can")
        return _end_to_end_class(family)
    known = models.options_class(name)
    if known is None:
        presets = (preset for preset, family in backbones.presets().items() if family in trainable)
        names = [*models.MODELS, *trainable, *presets]
        raise ConfigError(f"unknown model {name!r}, {closest(name, names)}; or any classifier of torchvision")
    return known


@cache
def _end_to_end_class(family: str) -> type[EndToEndOptions]:
    """Combine the training options and the options of a backbone family in one class."""
    own = backbones.options_class(family)
    return create_model(f"EndToEnd_{family}", __base__=(EndToEndOptions, own))  # type: ignore[arg-type]


def backbone_entry(options: EndToEndOptions) -> BaseModel:
    """Return the backbone's part of an end-to-end entry."""
    fields = backbones.options_class(options.name).model_fields
    given = {name: getattr(options, name) for name in fields if name in options.model_fields_set}
    return backbones.parse_options({**given, "name": options.name})


def input_entry(options: Recipe) -> dict[str, Any]:
    """Return the entry of `features.backbones` that caches the inputs of a model."""
    if isinstance(options, SpectrogramOptions):
        return {"name": "logmel", **options.mel.model_dump()}
    if isinstance(options, EndToEndOptions):
        return {"name": "waveform", "sample_rate_hz": backbones.describe(backbone_entry(options)).sample_rate}  # type: ignore[arg-type]
    return {"name": "waveform", "sample_rate_hz": getattr(options, "sample_rate_hz")}  # noqa: B009
